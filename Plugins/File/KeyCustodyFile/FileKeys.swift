import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// The keys of a folder, one file each: `keys/VERSION.key`, a ``SealedSoftwareKey`` under the store's master key.
final class FileKeys: SoftwareKeyStorage {
  static let kind = "file"
  private static let suffix = ".key"

  private let folder: StoreFolder
  private let random: any RandomSource
  private let master: Mutex<SecretBytes?>
  let identity: ProviderIdentity

  init(
    directory: String, secret: FileKeyProvider.Secret, create: Bool, environment: RuntimeEnvironment,
    system: any FileSystem
  ) throws(KeyCustodyError) {
    random = environment.random
    let root = DurableFolder(path: directory, system: system, random: environment.random)
    let secret = MasterKeySecret(source: secret, environment: environment, directory: directory)
    let make = { () throws(KeyCustodyError) -> StoreFile in try secret.makeStore(system: system) }
    folder = try StoreFolder(
      root, kind: .keys, contents: "keys", isExclusive: false, make: create ? make : nil)
    // A store just made is unlocked like any other: its passphrase is read again and must be the same.
    let key = try secret.unlock(folder.store, at: root.appending(StoreFile.name), system: system)
    master = Mutex(key)
    identity = ProviderIdentity(kind: Self.kind, instance: folder.store.uuid)
  }

  func save(_ record: SoftwareKeyRecord) throws(KeyCustodyError) {
    let version = record.description.version
    let bytes = try SealedSoftwareKey.seal(record, for: .file, under: try masterKey(), random: random)
    guard try folder.contents.create(Self.name(version), bytes) else { throw KeyCustodyError.keyExists(version) }
  }

  func load(_ version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyRecord {
    guard let sealed = try open(version) else {
      try folder.confirm()
      throw KeyCustodyError.noSuchKey(version)
    }
    return try sealed.record()
  }

  func stamp(of version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyStamp? {
    guard let status = try folder.contents.status(Self.name(version)) else {
      try folder.confirm()
      return nil
    }
    return SoftwareKeyStamp(status.inode, status.written)
  }

  func remove(_ version: KeyVersionID) throws(KeyCustodyError) {
    guard try folder.contents.remove(Self.name(version)) else {
      try folder.confirm()
      throw KeyCustodyError.noSuchKey(version)
    }
  }

  func list(after version: KeyVersionID?, limit: Int) throws(KeyCustodyError) -> [KeyVersionID] {
    try folder.confirm()
    var found: [KeyVersionID] = []
    for candidate in try folder.contents.names().compactMap(Self.version).sorted() {
      guard found.count < limit else { break }
      guard version.map({ $0 < candidate }) ?? true else { continue }
      if try isWhole(candidate) { found.append(candidate) }
    }
    // What vanished meanwhile was destroyed, or the store is gone, which is no short list.
    try folder.confirm()
    return found
  }

  func masterKey() throws(KeyCustodyError) -> SecretBytes {
    let copy = master.withLock { (master: inout sending SecretBytes?) -> SecretBytes? in master?.copy() }
    guard let copy else { throw KeyCustodyError(.unavailable, .closed, "The key provider \(identity) was closed.") }
    return copy
  }

  func check() throws(KeyCustodyError) { try folder.confirm() }

  func close() {
    master.withLock { $0 = nil }
    folder.close()
  }

  /// Whether a key's file is there and whole.
  ///
  /// A damaged key is refused by name when it is used; a disk that does not answer is no short list, nor is one that
  /// gave wrong bytes once.
  private func isWhole(_ version: KeyVersionID) throws(KeyCustodyError) -> Bool {
    for _ in 0..<2 {
      do { return try open(version) != nil } catch {
        guard error.code == .integrityFailure || error.code == .denied else { throw error }
      }
    }
    return false
  }

  /// Opens a key's file; `nil` when there is none.
  private func open(_ version: KeyVersionID) throws(KeyCustodyError) -> SealedSoftwareKey? {
    let name = Self.name(version)
    let path = folder.contents.appending(name)
    guard let bytes = try folder.contents.read(name, limit: SealedSoftwareKey.largest) else { return nil }
    let sealed: SealedSoftwareKey
    do { sealed = try SealedSoftwareKey(bytes, for: .file, under: try masterKey()) } catch {
      switch error.reason {
      case .unknownFormat, .closed: throw error
      case .truncated: throw .damagedFile(path, bytes.isEmpty ? "it is empty" : "its end is missing")
      default: throw .damagedFile(path, "it was altered, or belongs to another store")
      }
    }
    guard sealed.description.version == version else {
      throw .damagedFile(path, "it holds the key version \(sealed.description.version)")
    }
    return sealed
  }

  private static func name(_ version: KeyVersionID) -> String { "\(version)\(suffix)" }

  private static func version(_ name: String) -> KeyVersionID? {
    guard name.hasSuffix(suffix), let version = try? KeyVersionID(String(name.dropLast(suffix.count))),
      Self.name(version) == name
    else { return nil }
    return version
  }
}
