#if OIDC
  import KeyCustody
  import KeyCustodyCrypto
  import KeyCustodyTesting
  import Testing

  @testable import KeyCustodyOIDC

  /// A verifier of one issuer's tokens over HTTP.
  struct Federation {
    let server: IssuerServer
    let clock: ManualClock
    let verifier: OIDCTokenVerifier
    let key: TestKey
    let issuer: String
    let audience = "https://vault.example"

    init(_ server: IssuerServer, caFile: String? = nil, clock: ManualClock = ManualClock()) async throws {
      self.server = server
      self.clock = clock
      issuer = server.origin
      key = try TestKey(.ec(.p256), "first")
      server.publish([try key.jwk()])
      verifier = try await OIDCTokenVerifier(
        [try OIDCIssuer(server.origin, caFile: caFile)], environment: environment(clock))
    }

    init() async throws { try await self.init(IssuerServer()) }

    func token(_ key: TestKey? = nil, header: [(String, JSON?)] = []) throws -> String {
      try (key ?? self.key).token(
        claims(issuer: issuer, audience: audience, at: clock.now()), header: header)
    }

    @discardableResult
    func verify(_ token: String) async throws(KeyCustodyError) -> FederatedClaims {
      try await verifier.verify(token, issuer: issuer, audience: audience)
    }
  }

  extension Federation {
    /// Why a token is refused; `nil` when it is not.
    func result(of token: String) async -> KeyCustodyError? {
      do throws(KeyCustodyError) {
        try await verify(token)
        return nil
      } catch {
        return error
      }
    }
  }

  extension KeyCustodyError {
    static let badAnswer = KeyCustodyError(.unavailable, .badAnswer, "")
    static let unreachable = KeyCustodyError(.unavailable, .unreachable, "")
  }

  @Suite("Keys fetched from an issuer", .timeLimit(.minutes(10)))
  struct FetchTests {
    @Test("Keys are found by discovery, fetched at the first token, and kept")
    func discovery() async throws {
      let federation = try await Federation()
      #expect(federation.server.connections == 0, "none before a token comes")
      for _ in 0..<50 { try await federation.verify(federation.token()) }
      #expect(federation.server.requests(to: IssuerServer.discoveryPath) == 1)
      #expect(federation.server.requests(to: "/keys") == 1)
      try await federation.server.stop()
    }

    @Test("A hundred tokens at once make one fetch")
    func oneFetch() async throws {
      let federation = try await Federation()
      let token = try federation.token()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<100 { group.addTask { try await federation.verify(token) } }
        try await group.waitForAll()
      }
      #expect(federation.server.requests(to: "/keys") == 1)
      try await federation.server.stop()
    }

    @Test("Tokens that name 30 addresses of keys make nobody ask one of them (RFC 8725, section 3.10)")
    func namedAddresses() async throws {
      let federation = try await Federation()
      let listener = try await IssuerServer()
      let stranger = try TestKey(.ec(.p256), "first")
      listener.publish([try stranger.jwk()])
      let origin = listener.origin
      let port = String(origin.split(separator: ":").last ?? "")
      let addresses = [
        origin + "/keys", origin, "\(origin)/.well-known/openid-configuration", "http://localhost:\(port)/keys",
        "http://[::1]:\(port)/keys", "http://127.1:\(port)/keys", "http://2130706433:\(port)/keys",
        "http://0x7f000001:\(port)/keys", "http://0:\(port)/keys", "http://0177.0.0.1:\(port)/keys",
        "https://127.0.0.1:\(port)/keys", "http://x@127.0.0.1:\(port)/keys", "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/", "http://[fd00:ec2::254]/", "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://127.0.0.1:\(port)/", "gopher://127.0.0.1:\(port)/_x", "unix:/run/docker.sock",
        "http+unix://%2Frun%2Fsocket/",
        "data:application/json,{}", "//127.0.0.1:\(port)/keys", "/keys", "dict://127.0.0.1:\(port)/", "jar:\(origin)!/",
        "\(federation.server.origin)@127.0.0.1:\(port)/", "\(origin)#\(federation.server.origin)",
        "ldap://127.0.0.1:\(port)/", "http://127.0.0.1.:\(port)/keys",
      ]
      #expect(addresses.count == 30)
      for address in addresses {
        for name in ["jku", "x5u"] {
          for kid in ["first", "other"] {
            let token = try federation.token(stranger, header: [(name, .string(address)), ("kid", .string(kid))])
            await #expect(throws: KeyCustodyError.rejected) { try await federation.verify(token) }
          }
        }
      }
      #expect(listener.connections == 0)
      #expect(federation.server.requests(to: "/keys") == 1)
      print("addresses named by tokens: \(addresses.count), \(listener.connections) connections")
      try await listener.stop()
      try await federation.server.stop()
    }

    @Test("A redirecting issuer is not followed", arguments: [301, 302, 303, 307, 308], [true, false])
    func redirects(_ status: Int, _ atDiscovery: Bool) async throws {
      let federation = try await Federation()
      let target = try await IssuerServer()
      target.publish([try federation.key.jwk()])
      let path = atDiscovery ? IssuerServer.discoveryPath : "/keys"
      federation.server.answer(path, .status(status, location: target.origin + path))
      await #expect(throws: KeyCustodyError.badAnswer) { try await federation.verify(federation.token()) }
      #expect(target.connections == 0)
      try await target.stop()
      try await federation.server.stop()
    }

    @Test("Answers of 100 MB are cut at the limit", arguments: [IssuerServer.discoveryPath, "/keys"])
    func endless(_ path: String) async throws {
      let federation = try await Federation()
      federation.server.answer(path, .endless(100 << 20))
      await #expect(throws: KeyCustodyError.badAnswer) { try await federation.verify(federation.token()) }
      // What the kernel's buffers hold was sent too.
      #expect(federation.server.sent < 50 << 20)
      print("an answer of 100 MB: cut after \(federation.server.sent >> 10) KiB had been sent")
      try await federation.server.stop()
    }

    @Test(
      "An issuer that answers slowly is given up after five seconds in all",
      arguments: [IssuerServer.discoveryPath, "/keys"], [true, false])
    func slow(_ path: String, _ begins: Bool) async throws {
      let federation = try await Federation()
      federation.server.answer(path, begins ? .partial([0x7b]) : .silence)
      let token = try federation.token()
      let answer = Task { await federation.result(of: token) }
      await federation.server.waitForRequests(to: path, atLeast: 1)
      await federation.clock.waiters(atLeast: 1)
      federation.clock.advance(by: .seconds(5))
      #expect(await answer.value == KeyCustodyError(.unavailable, .deadline, ""))
      federation.server.publish([try federation.key.jwk()])
      try await federation.verify(federation.token())
      try await federation.server.stop()
    }

    @Test("What an issuer must not answer is no key set")
    func badAnswers() async throws {
      let federation = try await Federation()
      let origin = federation.server.origin
      let keys = keySet([try federation.key.jwk()])
      func discovery(_ issuer: JSON?, _ address: JSON?) -> [UInt8] {
        var members = JSON.Object()
        members["issuer"] = issuer
        members["jwks_uri"] = address
        return JSON.object(members).bytes
      }
      let good = JSON.string(origin + "/keys")
      let port = String(origin.split(separator: ":").last ?? "")
      let documents: [[UInt8]] = [
        discovery(nil, good), discovery("https://issuer.example", good), discovery(.string(origin + "/"), good),
        discovery(.string(origin), nil), discovery(.string(origin), 1), discovery(.string(origin), "/keys"),
        discovery(.string(origin), "http://keys.example/"),
        discovery(.string(origin), .string("http://localhost:\(port)/keys")),
        discovery(.string(origin), "http://10.0.0.1/"), discovery(.string(origin), "file:///etc/passwd"),
        discovery(.string(origin), "http://127.0.0.1.example/"),
        discovery(.string(origin), .string("http://x@127.0.0.1:\(port)/keys")),
        discovery(.string(origin), .string(origin + "/keys#x")),
        discovery(.string(origin), .string(" " + origin + "/keys")),
        discovery([.string(origin)], good), Array("[]".utf8), [], [0xff],
        discovery(.string(origin), good) + [0x20, 0x7b],
        Array(#"{"issuer":"\#(origin)","issuer":"\#(origin)","jwks_uri":"\#(origin)/keys"}"#.utf8),
      ]
      var refused = 0
      for document in documents {
        federation.server.answer(IssuerServer.discoveryPath, .document(document))
        await #expect(throws: KeyCustodyError.badAnswer, "\(String(decoding: document, as: UTF8.self))") {
          try await federation.verify(federation.token())
        }
        federation.clock.advance(by: .seconds(5))
        refused += 1
      }
      #expect(federation.server.requests(to: "/keys") == 0)
      federation.server.publish([])
      let sets: [IssuerServer.Answer] = [
        .document([]), .document(Array("[]".utf8)), .document(Array("{}".utf8)), .document(keys + keys), .status(500),
        .status(404), .status(204), .hangUp, .document([UInt8](repeating: 0x20, count: 300_000)),
        .document(keySet([try federation.key.jwk(), try federation.key.jwk()])),
        .document(keySet([try federation.key.jwk([("d", "AA")])])),
        .document(keySet(try (0..<65).map { try federation.key.jwk([("kid", .string("\($0)"))]) })),
      ]
      for answer in sets {
        federation.server.answer("/keys", answer)
        let error = await #expect(throws: KeyCustodyError.self) { try await federation.verify(federation.token()) }
        #expect(error?.code == .unavailable)
        federation.clock.advance(by: .seconds(5))
        refused += 1
      }
      federation.server.answer("/keys", .document(keys))
      try await federation.verify(federation.token())
      print("bad answers of an issuer: \(refused), all refused")
      try await federation.server.stop()
    }
  }
#endif
