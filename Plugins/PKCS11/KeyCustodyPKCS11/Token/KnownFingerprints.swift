import KeyCustody
import Synchronization

/// Which key was found under each name, for as long as the process runs.
///
/// Key versions never change. Another key under a known name is a handle gone astray or an exchanged object, and must
/// not be used.
final class KnownFingerprints: Sendable {
  private struct Known {
    let fingerprint: [UInt8]
    /// The module's start in which it was last found.
    var epoch: UInt64
  }
  private let known = Mutex<[KeyVersionID: Known]>([:])
  /// About 10 MB; beyond it the memory begins anew.
  private static let limit = 100_000

  /// Notes what was found, or compares it with what was found before.
  ///
  /// - Throws: `integrityFailure` (`key-exchanged`).
  func check(_ fingerprint: [UInt8], of version: KeyVersionID, epoch: UInt64) throws(KeyCustodyError) {
    let isSame = known.withLock { known in
      if let earlier = known[version] {
        known[version]?.epoch = epoch
        return earlier.fingerprint == fingerprint
      }
      if known.count >= Self.limit { known = [:] }
      known[version] = Known(fingerprint: fingerprint, epoch: epoch)
      return true
    }
    guard isSame else {
      throw KeyCustodyError(
        .integrityFailure, .init("key-exchanged"), "The token now holds another key under the name \(version).",
        remedy: "Find out who changed it. If that was meant, restart the service.")
    }
  }

  /// Whether a key is known, and known to be this one.
  func agree(_ fingerprint: [UInt8], _ version: KeyVersionID) -> Bool {
    known.withLock { $0[version]?.fingerprint == fingerprint }
  }

  /// Whether a key was found since the module was last started.
  ///
  /// Where it is not found now, a module that kept an old view of the token is a cause too.
  func wasFound(_ version: KeyVersionID, in epoch: UInt64) -> Bool { known.withLock { $0[version]?.epoch == epoch } }

  /// Forgets a destroyed key; whether it was known.
  @discardableResult
  func forget(_ version: KeyVersionID) -> Bool { known.withLock { $0.removeValue(forKey: version) != nil } }
}
