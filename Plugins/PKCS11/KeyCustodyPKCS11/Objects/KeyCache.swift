import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// Where the keys of a token were found, for as long as its handles mean what they meant then.
///
/// Tokens search in time that grows with their objects (SoftHSM: 100 ms among 10,000), so handles are kept, for all
/// sessions together; PKCS#11 makes them valid in every session of a process. A search that was slow makes the next one
/// read the names of all keys instead: then the keys of a full token are found again soon after a new login.
final class KeyCache: Sendable {
  fileprivate struct State {
    var generation: UInt64 = 0
    var keys: [KeyVersionID: TokenKey] = [:]
    var names: [KeyVersionID: KeyHandles]?
    var slowSearches = 0
  }
  private let state = Mutex(State())
  private static let limit = 100_000
  /// What counts as a slow search.
  private static let slow: Duration = .milliseconds(5)

  /// A key found before, under the same standing.
  func key(_ version: KeyVersionID, _ standing: PKCS11Token.Standing) -> TokenKey? {
    state.withLock { $0.generation == standing.generation ? $0.keys[version] : nil }
  }

  /// Keeps a key.
  func keep(_ key: TokenKey, _ version: KeyVersionID, _ standing: PKCS11Token.Standing) {
    state.withLock { state in
      guard state.enter(standing) else { return }
      if state.keys.count >= Self.limit { state.keys = [:] }
      state.keys[version] = key
    }
  }

  /// Forgets a key.
  func forget(_ version: KeyVersionID) {
    state.withLock { state in
      state.keys[version] = nil
      state.names?[version] = nil
    }
  }

  /// The handles under a name, where all names were read; `nil` means that only a search tells.
  func handles(_ version: KeyVersionID, _ standing: PKCS11Token.Standing) -> KeyHandles? {
    state.withLock { $0.generation == standing.generation ? $0.names?[version] : nil }
  }

  /// Notes how long a search took.
  ///
  /// - Returns: whether reading all names would pay now.
  func noteSearch(_ duration: Duration, _ standing: PKCS11Token.Standing) -> Bool {
    state.withLock { state in
      guard duration > Self.slow, state.enter(standing), state.names == nil else { return false }
      state.slowSearches += 1
      return state.slowSearches == 2
    }
  }

  /// Keeps all names.
  func keep(_ names: [KeyVersionID: KeyHandles], _ standing: PKCS11Token.Standing) {
    state.withLock { state in
      if state.enter(standing) { state.names = names }
    }
  }
}

extension KeyCache.State {
  /// Begins a new standing; `false` for one that is over.
  fileprivate mutating func enter(_ standing: PKCS11Token.Standing) -> Bool {
    if standing.generation > generation { self = Self(generation: standing.generation) }
    return standing.generation == generation
  }
}
