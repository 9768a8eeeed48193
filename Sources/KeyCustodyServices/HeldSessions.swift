import KeyCustody
import KeyCustodyVault
import Synchronization

/// By what the principals of this deployment are known to its vaults, without a signature for each call.
final class HeldSessions: Sendable {
  private typealias Entry = (session: DirectoryIdentityProvider.Session, begun: Duration)
  private let entries = Mutex<[PrincipalID: Entry]>([:])
  /// How long the token behind a session lasts.
  static let lifetime = Duration.seconds(300)
  /// How long a session is used: what is done with it must come to its end in time.
  private static let use = Duration.seconds(150)
  private static let most = 1024

  /// The session of a principal, while it may be used.
  subscript(_ id: PrincipalID, now: Duration) -> DirectoryIdentityProvider.Session? {
    entries.withLock { $0[id].flatMap { now - $0.begun < Self.use ? $0.session : nil } }
  }

  func keep(_ session: DirectoryIdentityProvider.Session, of id: PrincipalID, from begun: Duration) {
    entries.withLock { entries in
      // Rarely, and all at once: who is still at work has another one soon.
      if entries.count >= Self.most { entries = [:] }
      entries[id] = (session, begun)
    }
  }
}
