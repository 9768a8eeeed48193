import KeyCustody
import Synchronization

/// Lists the keys of a toy provider.
struct ToyInventory: KeyInventory {
  let provider: ToyKeyProvider

  func versions(after version: KeyVersionID?, limit: Int) async throws(KeyCustodyError) -> [KeyVersionID] {
    try provider.checkOpen()
    let all = provider.state.withLock { state in
      Set(state.keys.keys).union(provider.has(.listsDestroyedKeys) ? state.hidden : [])
    }
    let behind = all.sorted().filter { name in version.map { $0 < name } ?? true }
    return Array((provider.has(.ignoresListPosition) && version != nil ? [] : behind).prefix(max(0, limit)))
  }
}

/// Backs up keys of a toy provider: the version, the seed, a few words of description, and a check value.
struct ToyBackup: KeyBackup {
  let provider: ToyKeyProvider

  func backUp(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> [UInt8] {
    try provider.checkOpen()
    let key = try provider.find(version)
    guard key.description.isBackupable || provider.has(.backsUpAnything) else {
      throw KeyCustodyError(.unsupported, .notOffered, "This key was not made to be backed up.")
    }
    let body = version.bytes + Array(key.description.type.description.utf8.first.map { [$0] } ?? []) + key.seed
    return body + ToyCrypto.bytes(ToyCrypto.mix([body]))
  }

  func restore(_ blob: [UInt8], context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try provider.checkOpen()
    guard blob.count == 41 || (provider.has(.restoresDamage) && blob.count > 41) else {
      throw KeyCustodyError(.invalidInput, .malformed, "That is not a backup.")
    }
    let body = Array(blob.prefix(33))
    guard Array(blob.suffix(8)) == ToyCrypto.bytes(ToyCrypto.mix([body])) || provider.has(.restoresDamage) else {
      throw KeyCustodyError(.integrityFailure, .notAuthentic, "The backup was altered.")
    }
    let type: KeyType = body[16] == UInt8(ascii: "a") ? .aes(bits: 256) : .rsa(bits: 2048)
    let seed = provider.has(.restoresAnotherKey) ? [9] : Array(body.suffix(16))
    return try provider.restore(
      ToyKeyDisk.Key(
        seed: seed,
        description: KeyDescription(
          version: try KeyVersionID(Array(body.prefix(16)).hexadecimal), type: type, role: .wrapping,
          publicKey: ToyCrypto.publicKey(type, seed: seed), fingerprint: ToyCrypto.bytes(ToyCrypto.mix([seed])),
          origin: .generated, isHardwareProtected: false, isBackupable: true)))
  }
}
