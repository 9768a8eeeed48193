#if OIDC
  import KeyCustody
  import KeyCustodyTesting
  import Testing

  @testable import KeyCustodyOIDC

  @Suite("An issuer that can't be reached", .timeLimit(.minutes(10)))
  struct OutageTests {
    @Test("Keys at hand serve through an outage of a day, and no longer")
    func outage() async throws {
      let federation = try await Federation()
      try await federation.verify(federation.token())
      try await federation.server.stop()
      var verified = 0
      for _ in 0..<143 {
        federation.clock.advance(by: .seconds(600))
        try await federation.verify(federation.token())
        verified += 1
      }
      federation.clock.advance(by: .seconds(600))
      let error = await #expect(throws: KeyCustodyError.self) { try await federation.verify(federation.token()) }
      #expect(error?.code == .unavailable)
      print("an outage of 23 h 50 min: \(verified) of 143 tokens verified")
    }

    @Test("A failure is not kept: after the pause the next token asks again")
    func recovery() async throws {
      let federation = try await Federation()
      federation.server.answer("/keys", .status(503))
      await #expect(throws: KeyCustodyError.badAnswer) { try await federation.verify(federation.token()) }
      federation.server.publish([try federation.key.jwk()])
      let error = await #expect(throws: KeyCustodyError.self) { try await federation.verify(federation.token()) }
      #expect(error == .unreachable)
      #expect(error?.retryAfter == .seconds(5), "and says how long the pause is")
      #expect(federation.server.requests(to: "/keys") == 1)
      federation.clock.advance(by: .seconds(5))
      try await federation.verify(federation.token())
      #expect(federation.server.requests(to: "/keys") == 2)
      try await federation.server.stop()
    }

    @Test("1,000 tokens of unknown keys make one fetch in five seconds")
    func flood() async throws {
      let federation = try await Federation()
      try await federation.verify(federation.token())
      let strangers = try (0..<1000).map { number in
        try federation.token(federation.key, header: [("kid", .string("unknown-\(number)"))])
      }
      let begun = federation.clock.running()
      for (number, token) in strangers.enumerated() {
        await #expect(throws: KeyCustodyError.rejected) { try await federation.verify(token) }
        if number % 10 == 9 { federation.clock.advance(by: .milliseconds(500)) }
      }
      let seconds = (federation.clock.running() - begun).components.seconds
      let fetches = federation.server.requests(to: "/keys")
      #expect(fetches <= 1 + Int(seconds) / 5)
      #expect(fetches >= Int(seconds) / 5, "and one is made when it is due")
      try await federation.verify(federation.token())
      print("unknown keys: \(strangers.count) tokens in \(seconds) s, \(fetches) fetches")
      try await federation.server.stop()
    }

    @Test("1,000 tokens of unknown keys at once, with the issuer down, make one fetch")
    func floodInAnOutage() async throws {
      let federation = try await Federation()
      try await federation.verify(federation.token())
      federation.clock.advance(by: .seconds(5))
      federation.server.answer("/keys", .status(503))
      let token = try federation.token(federation.key, header: [("kid", "unknown")])
      let known = try federation.token()
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<1000 {
          group.addTask { await #expect(throws: KeyCustodyError.self) { try await federation.verify(token) } }
        }
        group.addTask { await #expect(throws: Never.self) { try await federation.verify(known) } }
      }
      #expect(federation.server.requests(to: "/keys") == 2)
      try await federation.server.stop()
    }

    @Test("While the issuer is down, a token of a key that is not known is not called bad: it may be good")
    func unknownKeyInAnOutage() async throws {
      let federation = try await Federation()
      let second = try TestKey(.ec(.p256), "second")
      try await federation.verify(federation.token())
      federation.server.answer("/keys", .status(503))
      federation.clock.advance(by: .seconds(5))
      await #expect(throws: KeyCustodyError.badAnswer) { try await federation.verify(federation.token(second)) }
      federation.clock.advance(by: .seconds(2))
      let error = await #expect(throws: KeyCustodyError.self) { try await federation.verify(federation.token(second)) }
      #expect(error == .unreachable && error?.retryAfter == .seconds(3))
      try await federation.verify(federation.token())
      await #expect(throws: KeyCustodyError.rejected, "by its claims this one is bad, and makes no fetch") {
        try await federation.verify(
          second.token(claims(issuer: federation.issuer, audience: "other", at: federation.clock.now())))
      }
      federation.server.publish([try federation.key.jwk(), try second.jwk()])
      federation.clock.advance(by: .seconds(3))
      try await federation.verify(federation.token(second))
      #expect(federation.server.requests(to: "/keys") == 3)
      try await federation.server.stop()
    }

    @Test("A new key is found as soon as a token names it, and an old one ends when the issuer withdraws it")
    func rotation() async throws {
      let federation = try await Federation()
      let second = try TestKey(.ec(.p256), "second")
      try await federation.verify(federation.token())
      federation.server.publish([try second.jwk()])
      federation.clock.advance(by: .seconds(5))
      try await federation.verify(federation.token())
      #expect(federation.server.requests(to: "/keys") == 1)
      try await federation.verify(federation.token(second))
      #expect(federation.server.requests(to: "/keys") == 2)
      await #expect(throws: KeyCustodyError.rejected) { try await federation.verify(federation.token()) }
      try await federation.server.stop()
    }

    @Test("Keys are renewed in the background, while those at hand go on serving")
    func renewal() async throws {
      let federation = try await Federation()
      try await federation.verify(federation.token())
      federation.clock.advance(by: .seconds(3599))
      try await federation.verify(federation.token())
      #expect(federation.server.requests(to: "/keys") == 1)
      let second = try TestKey(.ec(.p256), "second")
      federation.server.publish([try second.jwk()])
      federation.server.answer(IssuerServer.discoveryPath, .silence)
      federation.clock.advance(by: .seconds(1))
      try await federation.verify(federation.token())
      await federation.server.waitForRequests(to: IssuerServer.discoveryPath, atLeast: 2)
      try await federation.verify(federation.token())
      await federation.clock.waiters(atLeast: 1)
      federation.clock.advance(by: .seconds(5))
      federation.server.publish([try second.jwk()])
      // Joins the fetch that is given up, or begins the next.
      _ = try? await federation.verify(federation.token(second))
      federation.clock.advance(by: .seconds(5))
      try await federation.verify(federation.token(second))
      await #expect(throws: KeyCustodyError.rejected) { try await federation.verify(federation.token()) }
      try await federation.server.stop()
    }

    @Test("Closing ends a fetch that hangs")
    func closing() async throws {
      let federation = try await Federation()
      federation.server.answer("/keys", .silence)
      let token = try federation.token()
      let answer = Task { await federation.result(of: token) }
      await federation.server.waitForRequests(to: "/keys", atLeast: 1)
      federation.verifier.close()
      #expect(await answer.value?.code == .unavailable)
      await #expect(throws: KeyCustodyError(.unavailable, .closed, "")) { try await federation.verify(token) }
      try await federation.server.stop()
    }
  }
#endif
