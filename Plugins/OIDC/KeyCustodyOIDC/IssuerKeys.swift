import KeyCustody
import KeyCustodyCrypto
import Logging
import Synchronization

/// The keys of one issuer: fetched when they are needed, kept through its outages, renewed in the background.
///
/// One fetch at a time, and none within five seconds of the last one's beginning, whatever asks for it. So nobody's
/// tokens make this process flood an issuer. A fetch that fails changes nothing: keys that are there go on being used
/// until they are too old, and the next question after the pause asks again.
final class IssuerKeys: Sendable {
  private typealias Fetched = Result<JSONWebKeySet, KeyCustodyError>
  private struct State {
    var keys: JSONWebKeySet?
    /// When the fetch that gave the keys began.
    var keysFrom = Duration.zero
    /// When the last fetch began.
    var lastBegun: Duration?
    var fetch: Task<Fetched, Never>?
    var isClosed = false
  }

  /// From the beginning of one fetch to that of the next.
  static let pause = Duration.seconds(5)
  /// How long one fetch may take, discovery and keys together.
  static let patience = Duration.seconds(5)

  private let issuer: String
  private let source: KeySetSource
  private let keep: Duration
  private let renewAfter: Duration
  private let environment: RuntimeEnvironment
  private let state = Mutex(State())

  init(_ settings: OIDCIssuer, environment: RuntimeEnvironment) throws(KeyCustodyError) {
    issuer = settings.issuer
    source = try KeySetSource(settings)
    keep = settings.keepKeys
    renewAfter = min(.seconds(3600), settings.keepKeys / 2)
    self.environment = environment
  }

  /// Checks, where nothing has to be asked, that there are keys.
  func prepare() async throws(KeyCustodyError) { if source.isFile { _ = try await renewed() } }

  /// The key that verifies a token; `nil` when the issuer has none.
  ///
  /// - Throws: `unavailable` when the issuer's keys can't be had.
  func key(for token: JSONWebSignature) async throws(KeyCustodyError) -> JSONWebKey? {
    if let keys = try usableKeys() {
      if let key = keys.key(for: token) { return key }
      // A key that is there for something else, or an unnamed one, is no reason to ask again.
      guard let keyID = token.keyID, !keys.holds(keyID: keyID) else { return nil }
    }
    return try await renewed().key(for: token)
  }

  /// Ends all use.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.keys = nil
      state.fetch?.cancel()
    }
  }

  /// The keys at hand, when they are not too old; renews them in the background when they are no longer young.
  private func usableKeys() throws(KeyCustodyError) -> JSONWebKeySet? {
    let now = environment.time.running()
    return try state.withLock { (state) throws(KeyCustodyError) in
      guard !state.isClosed else { throw Self.closed }
      guard let keys = state.keys, now - state.keysFrom < keep else { return nil }
      if now - state.keysFrom >= renewAfter, state.fetch == nil, isDue(state, now) { _ = begin(&state, now) }
      return keys
    }
  }

  /// The keys of a fetch that is under way or can begin; within the pause after a good one, those it gave.
  private func renewed() async throws(KeyCustodyError) -> JSONWebKeySet {
    enum Next { case wait(Task<Fetched, Never>), known(JSONWebKeySet) }
    let now = environment.time.running()
    let next = try state.withLock { (state) throws(KeyCustodyError) -> Next in
      guard !state.isClosed else { throw Self.closed }
      if let fetch = state.fetch { return .wait(fetch) }
      if isDue(state, now) { return .wait(begin(&state, now)) }
      if let keys = state.keys, state.keysFrom == state.lastBegun { return .known(keys) }
      let rest = Self.pause - (now - (state.lastBegun ?? now))
      throw KeyCustodyError(
        .unavailable, .unreachable, "The keys of the issuer '\(issuer)' could not be fetched a moment ago.",
        retryAfter: max(rest, .zero))
    }
    switch next {
    case .known(let keys): return keys
    case .wait(let fetch): return try await fetch.value.get()
    }
  }

  private func isDue(_ state: borrowing State, _ now: Duration) -> Bool {
    state.lastBegun.map { now - $0 >= Self.pause } ?? true
  }

  private func begin(_ state: inout State, _ now: Duration) -> Task<Fetched, Never> {
    state.lastBegun = now
    let fetch = Task {
      let fetched = await ask(until: now + Self.patience)
      finish(fetched, begun: now)
      return fetched
    }
    state.fetch = fetch
    return fetch
  }

  private func ask(until deadline: Duration) async -> Fetched {
    await withTaskGroup(of: Fetched?.self) { group in
      group.addTask { [source] in
        do throws(KeyCustodyError) { return .success(try await source.load()) } catch { return .failure(error) }
      }
      group.addTask { [environment] in
        try? await environment.time.wait(until: deadline)
        return nil
      }
      let first = await group.next() ?? nil
      group.cancelAll()
      return first
        ?? .failure(
          KeyCustodyError(
            .unavailable, .deadline, "The issuer '\(issuer)' did not give its keys within \(Self.patience)."))
    }
  }

  private func finish(_ fetched: Fetched, begun: Duration) {
    state.withLock { state in
      state.fetch = nil
      guard !state.isClosed, case .success(let keys) = fetched else { return }
      state.keys = keys
      state.keysFrom = begun
    }
    switch fetched {
    case .success(let keys):
      environment.logger.debug(
        "fetched an issuer's keys", metadata: ["issuer": "\(issuer)", "keys": "\(keys.keys.count)"])
    case .failure(let error):
      environment.logger.warning(
        "an issuer's keys could not be fetched",
        metadata: ["issuer": "\(issuer)", "error": "\(error.debugDescription)"])
    }
  }

  private static let closed = KeyCustodyError(.unavailable, .closed, "The verifier of tokens was closed.")
}
