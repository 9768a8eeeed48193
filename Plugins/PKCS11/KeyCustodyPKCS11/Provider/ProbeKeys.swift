import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Throw-away keys that try a token's import, made once a process.
final class ProbeKeys: Sendable {
  static let shared = ProbeKeys()
  private let made = Mutex<[KeyType: SoftwareKey]>([:])

  /// The key of a type.
  ///
  /// Blocks while it is made.
  func key(_ type: KeyType) throws(KeyCustodyError) -> SoftwareKey {
    try made.withLock { (made) throws(KeyCustodyError) in
      if let key = made[type] { return key }
      let key = try SoftwareKey.forProbing(type, random: SystemRandom())
      made[type] = key
      return key
    }
  }
}
