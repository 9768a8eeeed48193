package import KeyCustody

/// Where a ``SoftwareKeyProvider`` keeps its keys.
///
/// Every method may block and is called from several threads at once.
package protocol SoftwareKeyStorage: Sendable {
  /// The store's own identity.
  var identity: ProviderIdentity { get }

  /// Keeps a new key, whole or not at all.
  ///
  /// - Throws: `invalidInput` (`already-exists`) when the name is taken, and then nothing is changed.
  func save(_ record: SoftwareKeyRecord) throws(KeyCustodyError)

  /// Reads a key.
  ///
  /// - Throws: `notFound`, only when its absence is confirmed; `integrityFailure` (`damaged`).
  func load(_ version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyRecord

  /// What tells one writing of a key from another; `nil` when its absence is confirmed.
  func stamp(of version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyStamp?

  /// Removes a key for good.
  ///
  /// - Throws: `notFound`.
  func remove(_ version: KeyVersionID) throws(KeyCustodyError)

  /// Up to `limit` versions after `version` whose keys are whole, ordered by name.
  func list(after version: KeyVersionID?, limit: Int) throws(KeyCustodyError) -> [KeyVersionID]

  /// The 32 bytes that every encryption of this store descends from. Another store has others.
  func masterKey() throws(KeyCustodyError) -> SecretBytes

  /// Does nothing where the store works, and throws what is wrong where it does not.
  func check() throws(KeyCustodyError)

  /// Lets go of whatever this opening holds.
  func close()
}

/// A key and what may be known of it.
package struct SoftwareKeyRecord: Sendable {
  /// What may be known of it.
  package let description: KeyDescription
  /// The key.
  package let key: SoftwareKey

  /// A key as it was read.
  package init(description: KeyDescription, key: SoftwareKey) {
    self.description = description
    self.key = key
  }

  /// A new key, as it was asked for.
  package init(
    _ key: SoftwareKey, _ request: GenerateKeyRequest, origin: KeyDescription.Origin
  ) throws(KeyCustodyError) {
    self.key = key
    description = KeyDescription(
      version: request.version, type: request.type, role: request.role, publicKey: try key.publicKey(),
      fingerprint: try key.fingerprint(), origin: origin, isHardwareProtected: false,
      isBackupable: request.backupable, label: request.label.kept(bytes: 128))
  }
}

/// Tells one writing of a key from another, so that a cached key is never used for one that took its place.
package struct SoftwareKeyStamp: Sendable, Hashable {
  private let first: UInt64
  private let second: UInt64
  /// A stamp of two numbers that do not both come again.
  package init(_ first: UInt64, _ second: UInt64 = 0) {
    self.first = first
    self.second = second
  }
}

extension KeyCustodyError {
  /// The key version is confirmed to be absent.
  package static func noSuchKey(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(.notFound, .keyVersionUnknown, "There is no key version \(version) in this provider.")
  }
  /// The key version's name is taken.
  package static func keyExists(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .alreadyExists, "There is a key version \(version) in this provider already.",
      remedy: "Choose another version, or destroy that one first.")
  }
}

extension String {
  /// The longest beginning of at most so many bytes that cuts no character.
  fileprivate func kept(bytes limit: Int) -> String {
    var count = 0
    return String(
      prefix { character in
        count += character.utf8.count
        return count <= limit
      })
  }
}
