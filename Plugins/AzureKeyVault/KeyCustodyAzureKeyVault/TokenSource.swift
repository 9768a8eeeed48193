import KeyCustody
import Logging
import Synchronization

/// The token that a vault is shown: kept until shortly before its end, renewed by one request at a time.
///
/// Nothing of a challenge is kept: it is asked for whenever a token is, unless one came with the refusal that made the
/// token necessary. A secret that was refused is not shown again before it is another one.
final class TokenSource: Sendable {
  private typealias Fetched = Result<AccessToken, KeyCustodyError>
  private struct State {
    var token: AccessToken?
    var fetch: Task<Fetched, Never>?
    var refused: (digest: [UInt8], error: KeyCustodyError, at: Duration)?
    var isClosed = false
  }

  /// How long one exchange with the authority may take.
  static let patience = Duration.seconds(10)

  private let settings: CheckedSettings
  private let http: HTTPConnection
  private let request: TokenRequest
  private let environment: RuntimeEnvironment
  /// For how long a refused secret is not shown again; `nil`: until it is another one.
  private let keepsRefusal: Duration?
  private let state = Mutex(State())

  init(
    _ settings: CheckedSettings, _ http: HTTPConnection, _ worker: BlockingWorker, environment: RuntimeEnvironment,
    keepsRefusal: Duration?
  ) {
    self.settings = settings
    self.http = http
    self.environment = environment
    self.keepsRefusal = keepsRefusal
    request = TokenRequest(settings: settings, environment: environment, worker: worker)
  }

  /// A token that can be shown now.
  ///
  /// - Throws: `credentialRejected`; `invalidInput` for a challenge that leads elsewhere; `unavailable`, `busy`.
  func token() async throws(KeyCustodyError) -> AccessToken {
    let now = environment.time.running()
    let (token, fetch) = state.withLock { state -> (AccessToken?, Task<Fetched, Never>?) in
      if let token = state.token, now < token.end {
        if now >= token.renew, state.fetch == nil { begin(&state, nil) }
        return (token, nil)
      }
      if state.fetch == nil { begin(&state, nil) }
      return (nil, state.fetch)
    }
    if let token { return token }
    guard let fetch else { throw VaultCalls.closedError }
    return try await fetch.value.get()
  }

  /// Another token than one that the vault refused.
  ///
  /// - Parameter challenge: what the vault said when it refused.
  func token(insteadOf refused: AccessToken, _ challenge: Challenge?) async throws(KeyCustodyError) -> AccessToken {
    state.withLock { state in
      guard state.token == refused else { return }
      state.token = nil
      if state.fetch == nil { begin(&state, challenge) }
    }
    return try await token()
  }

  /// Forgets the token and asks for no other one.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.token = nil
      state.refused = nil
      state.fetch?.cancel()
    }
  }

  private func begin(_ state: inout State, _ challenge: Challenge?) {
    guard !state.isClosed else { return }
    state.fetch = Task {
      let fetched: Fetched
      do throws(KeyCustodyError) { fetched = .success(try await fetch(challenge)) } catch { fetched = .failure(error) }
      finish(fetched)
      return fetched
    }
  }

  private func finish(_ fetched: Fetched) {
    state.withLock { state in
      state.fetch = nil
      guard !state.isClosed, case .success(let token) = fetched else { return }
      state.token = token
      state.refused = nil
    }
    guard case .failure(let error) = fetched else { return }
    environment.logger.warning(
      "no token for a vault", metadata: ["vault": "\(settings.vault.authority)", "error": "\(error.debugDescription)"])
  }

  private func fetch(_ given: Challenge?) async throws(KeyCustodyError) -> AccessToken {
    var challenge = given
    if challenge == nil { challenge = try await ask() }
    guard let challenge else {
      throw KeyCustodyError(
        .unavailable, .badAnswer, "'\(settings.vault.authority)' does not say whom to ask for a token.",
        remedy: "Check 'vault': it must be a vault's address.")
    }
    try challenge.check(settings)
    let prepared = try await request.prepare(for: challenge.resource)
    let begun = environment.time.running()
    if let refused = state.withLock({ $0.refused }), refused.digest == prepared.digest,
      keepsRefusal.map({ begun < refused.at + $0 }) ?? true
    {
      throw refused.error
    }
    do throws(KeyCustodyError) {
      let reply = try await send(prepared.ask, to: settings.tokens.authority)
      return try request.token(from: reply, resource: challenge.resource, begun: begun)
    } catch {
      if error.code == .credentialRejected { state.withLock { $0.refused = (prepared.digest, error, begun) } }
      throw error
    }
  }

  /// Asks the vault without a token, to be told whom to ask for one.
  private func ask() async throws(KeyCustodyError) -> Challenge? {
    let address = "\(settings.vault.origin)/keys?api-version=\(VaultConnection.version)&maxresults=1"
    let reply = try await send(HTTPAsk(method: .get, address: address), to: settings.vault.authority)
    switch reply.status {
    case 401: return Challenge(reply.challenges)
    case 429, 500...599:
      throw KeyCustodyError(
        reply.status == 429 ? .busy : .unavailable, .unreachable,
        "'\(settings.vault.authority)' answers with status \(reply.status).", retryAfter: reply.retryAfter)
    default: return nil
    }
  }

  private func send(_ ask: HTTPAsk, to host: String) async throws(KeyCustodyError) -> HTTPReply {
    do throws(HTTPFailure) { return try await http.send(ask, within: Self.patience) } catch {
      switch error {
      case .notSent(let what), .broken(let what):
        throw KeyCustodyError(
          .unavailable, .unreachable, "'\(host)' can't be reached.",
          remedy: "Whoever runs the network can see whether this host may reach it; 'caFile' must hold its authority.",
          diagnostic: what)
      case .late:
        throw KeyCustodyError(.unavailable, .unreachable, "'\(host)' did not answer within \(Self.patience).")
      case .excessive(let what):
        throw KeyCustodyError(.unavailable, .badAnswer, "'\(host)' gave no answer to use. \(what)")
      }
    }
  }
}
