#if AzureKeyVault
  import KeyCustody
  import KeyCustodyCrypto
  import KeyCustodyServedVaults
  import KeyCustodyTestSupport
  import KeyCustodyTesting
  import Logging
  import Synchronization
  import Testing

  @testable import KeyCustodyAzureKeyVault

  @Suite("Tokens for a vault", .timeLimit(.minutes(10)))
  struct TokenTests {
    private static let tokenPath = "/contoso/oauth2/v2.0/token"

    private static func challenge(_ authority: String, _ resource: String) -> FrontedVaults.Fault {
      .answer(
        401,
        headers: [("www-authenticate", "Bearer authorization=\"\(authority)\", resource=\"\(resource)\"")])
    }

    @Test("A challenge that leads elsewhere is refused, and nobody is shown the secret")
    func elsewhere() async throws {
      let front = try await FrontedVaults()
      let port = front.bench.port
      let (authority, resource) = ("https://login.vault.test:\(port)/contoso", "https://vault.test:\(port)")
      for (said, wanted) in [
        ("https://login.elsewhere.test:\(port)/contoso", resource), ("https://login.vault.test/contoso", resource),
        ("https://login.vault.test:\(port)/fabrikam", resource), ("http://login.vault.test:\(port)/contoso", resource),
        (authority, "https://elsewhere.test:\(port)"), (authority, "https://vault.test"),
        (authority, "https://ault.test:\(port)"),
      ] {
        front.plan(Self.challenge(said, wanted), "GET", " -")
        await #expect(throws: KeyCustodyError.like(.invalidInput, .backendMismatch), "\(said) \(wanted)") {
          _ = try await front.open()
        }
      }
      for header in ["", "Basic realm=\"x\"", "Bearer", "Bearer authorization=\"\(authority)\""] {
        front.plan(.answer(401, headers: [("www-authenticate", header)]), "GET", " -")
        await #expect(throws: KeyCustodyError.like(.unavailable, .badAnswer), "\(header)") {
          _ = try await front.open()
        }
      }
      #expect(front.count("POST", Self.tokenPath) == 0)
      try await front.stop()
    }

    @Test("One token serves all, and one is asked for at a time")
    func oneToken() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<16 { group.addTask { _ = try await provider.sign(with: key) } }
        try await group.waitForAll()
      }
      #expect(front.count("POST", Self.tokenPath) == 1)
      try await end(front, provider)
    }

    @Test("A token is renewed before its end, and by many callers at once only one time")
    func renewal() async throws {
      let front = try await FrontedVaults()
      let clock = ManualClock()
      let provider = try await front.open(environment: RuntimeEnvironment(time: clock))
      let key = try await provider.make()
      clock.advance(by: .seconds(3580))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<16 { group.addTask { _ = try await provider.sign(with: key) } }
        try await group.waitForAll()
      }
      #expect(front.count("POST", Self.tokenPath) == 2)
      try await end(front, provider)
    }

    @Test("A token that the vault refuses is replaced, once; a fresh one that it refuses too is told")
    func refusedToken() async throws {
      let front = try await FrontedVaults()
      let provider = try await front.open()
      let key = try await provider.make()
      let port = front.bench.port
      let refusal = Self.challenge("https://login.vault.test:\(port)/contoso", "https://vault.test:\(port)")
      front.plan(refusal, "POST", "/sign")
      #expect(try await provider.sign(with: key).count == 64)
      #expect(front.count("POST", Self.tokenPath) == 2)
      front.plan(refusal, "POST", "/sign", times: 2)
      await #expect(throws: KeyCustodyError.like(.credentialRejected, .wrongSecret)) {
        _ = try await provider.sign(with: key)
      }
      #expect(front.count("POST", Self.tokenPath) == 3)
      front.plan(Self.challenge("https://elsewhere.test/contoso", "https://vault.test:\(port)"), "POST", "/sign")
      await #expect(throws: KeyCustodyError.like(.invalidInput, .backendMismatch)) {
        _ = try await provider.sign(with: key)
      }
      #expect(front.count("POST", Self.tokenPath) == 3)
      try await end(front, provider)
    }

    @Test("A secret that was refused is not shown again before it is changed; no log and no error tells it")
    func refusedSecret() async throws {
      let front = try await FrontedVaults()
      let lines = Lines()
      let clock = ManualClock()
      let provider = try await front.open(environment: RuntimeEnvironment(time: clock, logger: lines.logger))
      let key = try await provider.make()
      let wrong = "another&secret=31415 92653+x"
      try front.write(secret: wrong)
      clock.advance(by: .seconds(4000))
      for _ in 0..<3 {
        do throws(KeyCustodyError) {
          _ = try await provider.sign(with: key)
          Issue.record("It signed.")
        } catch {
          #expect(error == .like(.credentialRejected, .wrongSecret))
          #expect(!error.debugDescription.contains("31415"))
        }
      }
      #expect(front.count("POST", Self.tokenPath) == 2)
      try front.write(secret: front.bench.secret)
      #expect(try await provider.sign(with: key).count == 64)
      #expect(front.count("POST", Self.tokenPath) == 3)
      for secret in ["31415", front.bench.secret, "eyJ"] { #expect(!lines.text.contains(secret)) }
      try await end(front, provider)
    }

    @Test(
      "K11: an authority that is out of order, or somebody before it, is no refusal",
      arguments: [
        (429, ""), (500, ""), (503, ""), (403, "<html>no</html>"), (401, "{}"),
        (400, #"{"error":"temporarily_unavailable"}"#), (400, #"{"statusCode":400,"message":"no"}"#),
      ])
    func authorityOutage(status: Int, body: String) async throws {
      let front = try await FrontedVaults()
      front.plan(.answer(status, body: Array(body.utf8)), "POST", Self.tokenPath)
      do {
        _ = try await front.open()
        Issue.record("It opened.")
      } catch let error as KeyCustodyError {
        #expect(error.retryClass == .later, "\(error)")
      }
      let provider = try await front.open()
      try await end(front, provider)
    }

    @Test(
      "What is no token is not used",
      arguments: [
        "", "{}", "{\"access_token\":\"a\"}", "{\"access_token\":\"a b\",\"expires_in\":60}",
        "{\"access_token\":\"\",\"expires_in\":60}", "{\"access_token\":7,\"expires_in\":60}",
      ])
    func noToken(body: String) async throws {
      let front = try await FrontedVaults()
      front.plan(.answer(200, body: Array(body.utf8)), "POST", Self.tokenPath)
      await #expect(throws: KeyCustodyError.like(.unavailable, .badAnswer)) { _ = try await front.open() }
      try await front.stop()
    }

    @Test("A vault under another authority's certificate is not spoken to")
    func foreignCertificate() async throws {
      let front = try await FrontedVaults()
      let folder = try TemporaryFolder()
      var settings = front.settings
      settings.caFile = try await VaultBench.certificate(in: folder).caFile
      let foreign = settings
      await #expect(throws: KeyCustodyError.like(.unavailable, .unreachable)) {
        _ = try await AzureKeyVaultProvider.open(foreign, environment: RuntimeEnvironment())
      }
      settings.caFile = front.secretFile
      let none = settings
      await #expect(throws: KeyCustodyError.like(.invalidInput, .badConfigurationValue)) {
        _ = try await AzureKeyVaultProvider.open(none, environment: RuntimeEnvironment())
      }
      #expect(front.count("GET", "/") == 0)
      try await front.stop()
    }

    private func end(_ front: FrontedVaults, _ provider: AzureKeyVaultProvider) async throws {
      await provider.close()
      try await front.stop()
    }
  }

  /// Keeps everything that is logged, as text.
  private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var text: String { lines.withLock { $0.joined(separator: "\n") } }

    var logger: Logger {
      var logger = Logger(label: "test") { _ in Handler(lines: self) }
      logger.logLevel = .trace
      return logger
    }

    private struct Handler: LogHandler {
      let lines: Lines
      var metadata: Logger.Metadata = [:]
      var logLevel = Logger.Level.trace

      subscript(metadataKey name: String) -> Logger.Metadata.Value? {
        get { metadata[name] }
        set { metadata[name] = newValue }
      }

      func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        lines.lines.withLock { $0.append("\(event.level) \(event.message) \(all)") }
      }
    }
  }
#endif
