import KeyCustody
import Synchronization

/// Which key was found under each name, for as long as the process runs.
///
/// Key versions never change. Another key under a known name is a handle gone astray or an exchanged object, and must
/// not be used.
final class KnownFingerprints: Sendable {
  private let known = Mutex<[KeyVersionID: [UInt8]]>([:])
  /// About 10 MB; beyond it the memory begins anew.
  private static let limit = 100_000

  /// Notes what was found, or compares it with what was found before.
  ///
  /// - Throws: `integrityFailure` (`key-exchanged`).
  func check(_ fingerprint: [UInt8], of version: KeyVersionID) throws(KeyCustodyError) {
    let isSame = known.withLock { known in
      if let earlier = known[version] { return earlier == fingerprint }
      if known.count >= Self.limit { known = [:] }
      known[version] = fingerprint
      return true
    }
    guard isSame else {
      throw KeyCustodyError(
        .integrityFailure, .init("key-exchanged"), "The token now holds another key under the name \(version).",
        remedy: "Find out who changed it. If that was meant, restart the service.")
    }
  }

  /// Forgets a destroyed key; whether it was known.
  @discardableResult
  func forget(_ version: KeyVersionID) -> Bool { known.withLock { $0.removeValue(forKey: version) != nil } }
}
