#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyServedVaults
  import KeyCustodyTesting
  import Testing

  @testable import KeyCustodyAzureKeyVault

  @Suite("Faults between a provider and its vault", .timeLimit(.minutes(10)))
  struct FaultTests {
    @Test("Where asking twice does no harm, a lost request and a lost answer are asked for again")
    func repeats() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      for fault in [FrontedVaults.Fault.lost, .answerLost] {
        front.plan(fault, "POST", "/sign")
        #expect(try await provider.sign(with: key).count == 64)
        front.plan(fault, "GET", "/versions")
        #expect(try await provider.look(key.version) == key)
      }
      #expect(front.count("POST", "/sign") == 4)
      front.plan(.answerLost, "DELETE", "/keys/")
      try await provider.destroy(key)
      #expect(front.count("DELETE", "/keys/") == 2)
      #expect(front.count("DELETE", "/deletedkeys/") == 1)
      await #expect(throws: KeyCustodyError.like(.notFound, .keyVersionUnknown)) {
        _ = try await provider.look(key.version)
      }
      try await end(front, provider)
    }

    @Test("A creation whose answer is lost is looked for, and never asked for again")
    func creationAnswerLost() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      front.plan(.answerLost, "POST", "/create")
      let key = try await provider.make()
      #expect(try await provider.sign(with: key).count == 64)
      #expect(front.count("POST", "/create") == 1)
      #expect(await front.bench.versions(key.version, vault: front.vault).count == 1)
      front.plan(.lost, "POST", "/create")
      await #expect(throws: KeyCustodyError.like(.timeout, .outcomeUnknown)) { _ = try await provider.make() }
      #expect(front.count("POST", "/create") == 2)
      try await end(front, provider)
    }

    @Test("A creation that the vault says it did not do is asked for again, after a look")
    func creationRefused() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      front.plan(.answer(503), "POST", "/create")
      let key = try await provider.make()
      #expect(front.count("POST", "/create") == 2)
      #expect(await front.bench.versions(key.version, vault: front.vault).count == 1)
      for status in [500, 502, 504] {
        front.plan(.answer(status), "POST", "/create")
        await #expect(throws: KeyCustodyError.like(.timeout, .outcomeUnknown)) { _ = try await provider.make() }
      }
      #expect(front.count("POST", "/create") == 5)
      try await end(front, provider)
    }

    @Test("Who makes a key of a name that another process takes meanwhile says so, and switches its own version off")
    func rival() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let version = try KeyVersionID(random: SystemRandom())
      let (bench, vault) = (front.bench, front.vault)
      front.plan(
        .after {
          let body: JSON = ["kty": "EC", "key_ops": ["sign", "verify"], "tags": ["kc-mark": "another"]]
          await bench.send(.post, "/keys/kc-\(version)/create", body, vault: vault)
        }, "POST", "/create")
      let request = GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing)
      await #expect(throws: KeyCustodyError.like(.invalidInput, .alreadyExists)) {
        _ = try await provider.generate(request, context: CallContext(purpose: .administration))
      }
      #expect(await bench.versions(version, vault: vault).count == 2)
      // The rival's version is the key: made first, or of the two of one second the one that is on.
      let key = try await provider.look(version)
      #expect(try await provider.sign(with: key).count == 64)
      try await end(front, provider)
    }

    @Test("Retry-After is honoured, within the deadline, by the clock that is given")
    func retryAfter() async throws {
      let front = try await FrontedVaults()
      let clock = ManualClock()
      let provider = try await front.open(environment: RuntimeEnvironment(time: clock))
      let key = try await provider.make()
      front.plan(.answer(503, headers: [("retry-after", "7")]), "POST", "/sign")
      async let signature = provider.sign(with: key)
      // The deadline's timer, and the pause.
      await clock.waiters(atLeast: 2)
      #expect(front.count("POST", "/sign") == 1)
      clock.advance(by: .seconds(7))
      #expect(try await signature.count == 64)
      #expect(front.count("POST", "/sign") == 2)
      // Longer than the call may take: told at once.
      front.plan(.answer(429, headers: [("retry-after", "60")]), "POST", "/sign")
      do throws(KeyCustodyError) {
        _ = try await provider.sign(with: key)
        Issue.record("It signed.")
      } catch {
        #expect(error.code == .busy && error.retryAfter == .seconds(60))
      }
      try await end(front, provider)
    }

    @Test("A vault that is busy or out of order for long is told as such")
    func outOfOrder() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      var events = provider.events().makeAsyncIterator()
      for (status, code) in [
        (429, KeyCustodyError.Code.busy), (500, .unavailable), (502, .unavailable), (503, .unavailable),
        (504, .timeout),
      ] {
        front.plan(.answer(status), "POST", "/sign", times: 4)
        do throws(KeyCustodyError) {
          _ = try await provider.sign(with: key)
          Issue.record("It signed.")
        } catch { #expect(error.code == code, "\(error)") }
      }
      #expect(front.count("POST", "/sign") == 20)
      try await front.stop()
      front.plan(.lost, "POST", "/sign", times: 100)
      await #expect(throws: KeyCustodyError.like(.unavailable, .unreachable)) { _ = try await provider.sign(with: key) }
      guard case .unavailable = await events.next() else {
        Issue.record("The outage was not told.")
        return
      }
      await provider.close()
    }

    @Test("A vault that never answers is given up at the caller's deadline, and other callers are served")
    func silence() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      front.plan(.silence, "POST", "/sign")
      let deadline = SystemTime().running() + .milliseconds(300)
      await #expect(throws: KeyCustodyError.like(.timeout, .deadline)) {
        _ = try await provider.sign(with: key, deadline: deadline)
      }
      #expect(try await provider.sign(with: key).count == 64)
      try await end(front, provider)
    }

    @Test(
      "What no vault answers is no answer: neither a key nor its absence",
      arguments: [
        (200, [], Array("<html>".utf8)), (200, [], Array("{}".utf8)), (200, [], Array("{\"value\":7}".utf8)),
        (200, [], [UInt8](repeating: 0x20, count: 1 << 20)), (404, [], Array("not here".utf8)),
        (302, [("location", "https://elsewhere.test/keys")], []), (418, [], []),
        (
          200, [],
          Array("{\"value\":[],\"nextLink\":\"https://elsewhere.test/keys/kc/versions?$skiptoken=a\"}".utf8)
        ),
      ] as [(Int, [(String, String)], [UInt8])])
    func garbage(status: Int, headers: [(String, String)], body: [UInt8]) async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      front.plan(.answer(status, headers: headers, body: body), "GET", "/versions")
      await #expect(throws: KeyCustodyError.like(.unavailable, .badAnswer)) { _ = try await provider.look(key.version) }
      front.plan(.answer(status, headers: headers, body: body), "POST", "/sign")
      await #expect(throws: KeyCustodyError.like(.unavailable, .badAnswer)) { _ = try await provider.sign(with: key) }
      #expect(try await provider.look(key.version) == key)
      try await end(front, provider)
    }

    @Test("More headers than any vault sends are not read")
    func headers() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      front.plan(.answer(200, headers: (0..<200).map { ("x-\($0)", "x") }), "POST", "/sign")
      await #expect(throws: KeyCustodyError.self) { _ = try await provider.sign(with: key) }
      #expect(try await provider.sign(with: key).count == 64)
      try await end(front, provider)
    }

    @Test("An answer of another version than was asked is not taken")
    func otherVersion() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      let other = String(repeating: "0", count: 32)
      let body: JSON = [
        "kid": .string("https://\(front.vault).vault.test/keys/kc-\(key.version)/\(other)"), "value": "AAAA",
      ]
      front.plan(.answer(200, body: body.bytes), "POST", "/sign")
      await #expect(throws: KeyCustodyError.like(.unavailable, .badAnswer)) { _ = try await provider.sign(with: key) }
      try await end(front, provider)
    }

    @Test("What a vault says in its own words is told in ours, and ends no more than it says")
    func refusals() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      for (status, code, inner, expected) in [
        (400, "BadParameter", nil, .like(.invalidInput, .malformed)),
        (400, "NotSupported", nil, .like(.unsupported, .notOffered)),
        (400, "SomethingElse", nil, .like(.unavailable, .badAnswer)),
        (403, "Forbidden", "AccessDenied", .like(.denied, .accessDenied)),
        (403, "Forbidden", "ForbiddenByPolicy", .like(.denied, .accessDenied)),
        (403, "Forbidden", "ForbiddenByRbac", .like(.denied, .accessDenied)),
        (403, "Forbidden", "ForbiddenByFirewall", .like(.denied, .networkRefused)),
        (403, "Forbidden", "ForbiddenByConnection", .like(.denied, .networkRefused)),
        (403, "Forbidden", "KeyDisabled", .like(.disabled, .keyDisabled)),
        (403, "Forbidden", "KeyOperationForbidden", .like(.invalidInput, .wrongKeyType)),
        (403, "SomethingElse", nil, .like(.unavailable, .badAnswer)),
        (404, "KeyNotFound", nil, .like(.notFound, .keyVersionUnknown)),
        (404, "SomethingElse", nil, .like(.unavailable, .badAnswer)),
        (409, "Conflict", nil, .like(.busy, .conflict)), (413, "TooLarge", nil, .like(.invalidInput, .wrongSize)),
      ] as [(Int, JSON, JSON?, KeyCustodyError)] {
        var error: JSON = ["code": code, "message": "no"]
        if let inner { error = ["code": code, "message": "no", "innererror": ["code": inner]] }
        front.plan(.answer(status, body: (["error": error] as JSON).bytes), "POST", "/sign")
        await #expect(throws: expected, "\(status) \(code) \(String(describing: inner))") {
          _ = try await provider.sign(with: key)
        }
      }
      #expect(try await provider.sign(with: key).count == 64)
      try await end(front, provider)
    }

    private func end(_ front: FrontedVaults, _ provider: AzureKeyVaultProvider) async throws {
      await provider.close()
      try await front.stop()
    }
  }
#endif
