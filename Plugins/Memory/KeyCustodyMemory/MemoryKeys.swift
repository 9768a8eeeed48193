import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// The keys of one memory: they outlive the providers that were opened over them.
final class MemoryKeys: SoftwareKeyStorage {
  static let kind = "memory"

  private struct State {
    var records: [KeyVersionID: (record: SoftwareKeyRecord, stamp: SoftwareKeyStamp)] = [:]
    var writes: UInt64 = 0
  }
  private let state = Mutex(State())
  private let master: SecretBytes
  let identity: ProviderIdentity

  init(random: any RandomSource) throws(KeyCustodyError) {
    master = try random.secret(32)
    identity = ProviderIdentity(kind: Self.kind, instance: try random.bytes(16).hexadecimal)
  }

  func save(_ record: SoftwareKeyRecord) throws(KeyCustodyError) {
    try state.withLock { (state) throws(KeyCustodyError) in
      let version = record.description.version
      guard state.records[version] == nil else { throw KeyCustodyError.keyExists(version) }
      state.writes += 1
      state.records[version] = (record, SoftwareKeyStamp(state.writes))
    }
  }

  func load(_ version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyRecord {
    guard let found = state.withLock({ $0.records[version]?.record }) else {
      throw KeyCustodyError.noSuchKey(version)
    }
    return found
  }

  func stamp(of version: KeyVersionID) throws(KeyCustodyError) -> SoftwareKeyStamp? {
    state.withLock { $0.records[version]?.stamp }
  }

  func remove(_ version: KeyVersionID) throws(KeyCustodyError) {
    guard state.withLock({ $0.records.removeValue(forKey: version) }) != nil else {
      throw KeyCustodyError.noSuchKey(version)
    }
  }

  func list(after version: KeyVersionID?, limit: Int) throws(KeyCustodyError) -> [KeyVersionID] {
    let all = state.withLock { Array($0.records.keys) }
    return Array(all.filter { key in version.map { $0 < key } ?? true }.sorted().prefix(max(0, limit)))
  }

  func masterKey() throws(KeyCustodyError) -> SecretBytes { master.copy() }

  func check() throws(KeyCustodyError) {}

  func close() {}
}
