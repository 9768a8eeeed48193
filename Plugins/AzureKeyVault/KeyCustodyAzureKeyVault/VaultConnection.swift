import KeyCustody
import Synchronization

/// What is asked of the vault.
struct VaultAsk: Sendable {
  var method: HTTPAsk.Method
  /// The path, with a slash before it, and the query without `api-version`.
  var path: String
  var query = ""
  var body: HTTPAsk.Body?
  /// The name of a change, by which a vault that knows such names does not make it twice.
  var requestID: String?
  /// Whether asking twice does no more than asking once.
  var isRepeatable = true
  /// Whether it changes something.
  var isChange = false
}

/// What the vault answered.
struct VaultAnswer: Sendable {
  let status: Int
  /// The body, where it is JSON.
  let json: JSON?
  let retryAfter: Duration?
  /// Whether it was asked before, and that answer was lost.
  var isRepeat = false

  var isGood: Bool { (200..<300).contains(status) }
  /// The error's code.
  var code: String { json?["error"]?["code"]?.string ?? "" }
  /// The code within the error, which is finer.
  var inner: String { json?["error"]?["innererror"]?["code"]?.string ?? "" }

  /// The value of a good answer, when it is of the version that was asked.
  ///
  /// - Throws: `unavailable` (`bad-answer`).
  func value(of name: String, _ version: String) throws(KeyCustodyError) -> String {
    guard let value = json?["value"]?.string, let parts = Naming.parts(of: json?["kid"]?.string),
      parts.name.lowercased() == name.lowercased(), parts.version == version[...]
    else { throw .unfit(name, "the answer is not of the version that was asked") }
    return value
  }
}

/// The vault as this program talks to it: with a token, with repeats where they do no harm.
final class VaultConnection: Sendable {
  /// The version of the wire form that is spoken: old enough for all, new enough for what is used.
  static let version = "7.4"
  /// How often something is asked, at most.
  static let mostTries = 4

  let settings: CheckedSettings
  private let http: HTTPConnection
  private let tokens: TokenSource
  private let environment: RuntimeEnvironment
  private let health: VaultHealth?

  /// - Parameters:
  ///   - http: ended by ``close()``, unless others use it too.
  ///   - worker: reads the credential's secret.
  ///   - keepsRefusal: for how long a refused secret is not shown again; `nil`: until it is another one.
  init(
    _ settings: CheckedSettings, _ http: HTTPConnection, _ worker: BlockingWorker, environment: RuntimeEnvironment,
    health: VaultHealth?, keepsRefusal: Duration? = nil
  ) {
    self.settings = settings
    self.environment = environment
    self.health = health
    self.http = http
    tokens = TokenSource(settings, http, worker, environment: environment, keepsRefusal: keepsRefusal)
  }

  func close() async {
    forgetToken()
    await http.close()
  }

  /// Asks for no other token.
  func forgetToken() { tokens.close() }

  /// Asks, and gives what the vault answered, good or bad; 401 alone is seen to here.
  ///
  /// - Parameter deadline: in running time.
  /// - Throws: `credentialRejected`; `unavailable` when nothing happened; `timeout` when it may have.
  func ask(_ ask: VaultAsk, by deadline: Duration) async throws(KeyCustodyError) -> VaultAnswer {
    do throws(KeyCustodyError) {
      let answer = try await repeated(ask, by: deadline)
      health?.answered()
      return answer
    } catch {
      health?.failed(error)
      throw error
    }
  }

  private func repeated(_ ask: VaultAsk, by deadline: Duration) async throws(KeyCustodyError) -> VaultAnswer {
    var tries = 0
    var isRepeat = false
    var token = try await tokens.token()
    var isRenewed = false
    while true {
      tries += 1
      let left = deadline - environment.time.running()
      guard left > .zero else { throw late(isRepeat && ask.isChange) }
      let reply: HTTPReply
      do throws(HTTPFailure) { reply = try await http.send(request(ask, token), within: left) } catch {
        var isLost = isRepeat
        if case .broken = error { isLost = true }
        guard await canRepeat(ask, error, tries, deadline) else { throw failure(error, ask, isLost) }
        isRepeat = isLost
        continue
      }
      if reply.status == 401 {
        guard !isRenewed else { throw rejected(reply) }
        isRenewed = true
        // A token that ended early, or whose issuer has new keys: another one is asked for, once.
        token = try await tokens.token(insteadOf: token, Challenge(reply.challenges))
        tries -= 1
        continue
      }
      if Self.passing.contains(reply.status), ask.isRepeatable, tries < Self.mostTries,
        await pause(reply.retryAfter ?? .milliseconds(100 << tries), deadline)
      {
        isRepeat = isRepeat || reply.status != 429
        continue
      }
      return VaultAnswer(
        status: reply.status, json: reply.body.isEmpty ? nil : try? JSON(reply.body), retryAfter: reply.retryAfter,
        isRepeat: isRepeat)
    }
  }

  /// Answers that may be better the next time.
  private static let passing: Set<Int> = [408, 429, 500, 502, 503, 504]

  private func request(_ ask: VaultAsk, _ token: AccessToken) -> HTTPAsk {
    let query = ask.query.isEmpty ? "" : "&\(ask.query)"
    var request = HTTPAsk(
      method: ask.method, address: "\(settings.vault.origin)\(ask.path)?api-version=\(Self.version)\(query)",
      body: ask.body)
    request.headers = [("authorization", "Bearer \(token.text)")]
    if let id = ask.requestID { request.headers.append(("x-ms-client-request-id", id)) }
    return request
  }

  private func canRepeat(
    _ ask: VaultAsk, _ failure: HTTPFailure, _ tries: Int, _ deadline: Duration
  ) async -> Bool {
    guard tries < Self.mostTries else { return false }
    switch failure {
    // A kept connection that the vault has ended meanwhile is the usual cause: the first repeat waits for nothing.
    case .broken where !ask.isRepeatable: return false
    case .broken, .notSent: return await pause(tries == 1 ? .zero : .milliseconds(100 << tries), deadline)
    case .late, .excessive: return false
    }
  }

  /// Waits, where that leaves time for an answer.
  private func pause(_ duration: Duration, _ deadline: Duration) async -> Bool {
    let end = environment.time.running() + duration
    guard end < deadline else { return false }
    guard duration > .zero else { return true }
    return (try? await environment.time.wait(until: end)) != nil
  }

  private func failure(_ failure: HTTPFailure, _ ask: VaultAsk, _ isLost: Bool) -> KeyCustodyError {
    let host = settings.vault.authority
    switch failure {
    case .notSent(let what), .broken(let what):
      guard isLost, ask.isChange else {
        return KeyCustodyError(
          .unavailable, .unreachable, "The vault '\(host)' can't be reached.",
          remedy: "Whoever runs the network can see whether this host may reach it.", diagnostic: what)
      }
      return .unknownOutcome(host, what)
    case .late: return late(ask.isChange)
    // It answered, so it may have done it.
    case .excessive(let what) where ask.isChange: return .unknownOutcome(host, what)
    case .excessive(let what):
      return KeyCustodyError(.unavailable, .badAnswer, "The vault '\(host)' gave no answer to use. \(what)")
    }
  }

  private func late(_ mayHaveHappened: Bool) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .deadline,
      "The vault '\(settings.vault.authority)' did not answer in time\(mayHaveHappened ? "; it may have done what was asked" : "").",
      remedy: "Allow more time, or look at why it answers slowly.")
  }

  private func rejected(_ reply: HTTPReply) -> KeyCustodyError {
    let answer = VaultAnswer(status: reply.status, json: try? JSON(reply.body), retryAfter: nil)
    return KeyCustodyError(
      .credentialRejected, .wrongSecret,
      "The vault '\(settings.vault.authority)' refused a token that it had asked for, and a fresh one too.",
      remedy: "Check that 'authority' has the vault's tenant, and that the clocks agree.",
      diagnostic: answer.diagnostic)
  }
}

/// Tells when the vault stops answering, and when it answers again.
final class VaultHealth: Sendable {
  private let isAway = Mutex(false)
  private let broadcaster: EventBroadcaster<KeyProviderEvent>

  init(_ broadcaster: EventBroadcaster<KeyProviderEvent>) { self.broadcaster = broadcaster }

  func answered() {
    if isAway.withLock({ isAway in exchange(&isAway, with: false) }) { broadcaster.send(.available) }
  }

  func failed(_ error: KeyCustodyError) {
    guard error.code == .unavailable, error.reason == .unreachable else { return }
    if !isAway.withLock({ isAway in exchange(&isAway, with: true) }) {
      broadcaster.send(.unavailable(reason: error.message))
    }
  }
}
