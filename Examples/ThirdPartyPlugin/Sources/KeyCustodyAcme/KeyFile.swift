import Crypto
internal import FoundationEssentials
import KeyCustody

/// One file with all the keys, replaced whole by each change: a destroyed key is nowhere in it any more.
///
///     key-custody-acme 1 UUID CHECK line break ‖ nonce (12) ‖ ciphertext ‖ tag (16)
///
/// AES-256-GCM over JSON, the first line authenticated with it. In the JSON the material is wrapped once more (AES key
/// wrap), so that it is never text. It does not notice when somebody puts an older file in its place.
final class KeyFile {
  struct Entry: Codable {
    var description: KeyDescription
    /// The material under the wrapping subkey.
    var wrapped: Data
  }

  let uuid: String
  private let path: String
  private let head: Data
  private let wrapKey: SymmetricKey
  private let sealKey: SymmetricKey
  private let lock: Int32
  private let disk: any Disk

  /// Opens the file, or makes it, and holds it alone.
  ///
  /// - Throws: `busy` when another process holds it; `credentialRejected` for another secret; `integrityFailure`.
  init(
    path: String, secret: borrowing SecretBytes, random: any RandomSource, disk: any Disk
  ) throws(KeyCustodyError) {
    guard secret.count >= 32 else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The secret of '\(path)' has fewer than 32 characters.",
        remedy: "Make one: openssl rand -hex 32. It can't be changed later.")
    }
    let held: Int32?
    do throws(DiskFailure) { held = try disk.lock("\(path).lock") } catch {
      throw Self.failure(error, "\(path).lock")
    }
    guard let held else {
      throw KeyCustodyError(.busy, .conflict, "Another process has the keys of '\(path)' open.", remedy: "End it.")
    }
    lock = held
    self.disk = disk
    self.path = path
    let base = SymmetricKey(secret)
    do throws(KeyCustodyError) {
      let existing = try Self.read(path, disk)
      let line = existing.flatMap { bytes in bytes.firstIndex(of: 0x0a).map { bytes[...$0] } }
      let words = line.map { String(decoding: $0.dropLast(), as: UTF8.self).split(separator: " ") } ?? []
      if existing != nil, words.count != 4 || words[0] != "key-custody-acme" || words[1] != "1" {
        throw Self.damaged(path)
      }
      let uuid = existing == nil ? try random.bytes(16).hexadecimal : String(words[2])
      let check = Self.subkey("check", base, uuid).withUnsafeBytes { Array($0) }.hexadecimal
      guard existing == nil || constantTimeEqual(Array(check.utf8), Array(words[3].utf8)) else {
        throw KeyCustodyError(
          .credentialRejected, .wrongSecret, "The secret does not unlock the keys of '\(path)'.",
          remedy: "Give the one they were made with.")
      }
      self.uuid = uuid
      head = Data("key-custody-acme 1 \(uuid) \(check)\n".utf8)
      wrapKey = Self.subkey("wrap", base, uuid)
      sealKey = Self.subkey("seal", base, uuid)
    } catch {
      disk.unlock(held)
      throw error
    }
  }

  deinit { disk.unlock(lock) }

  /// The keys in the file; none where there is no file yet.
  func load() throws(KeyCustodyError) -> [KeyVersionID: (AcmeKey, KeyDescription)] {
    guard let bytes = try Self.read(path, disk) else { return [:] }
    do {
      let box = try AES.GCM.SealedBox(combined: bytes.dropFirst(head.count))
      let json = try AES.GCM.open(box, using: sealKey, authenticating: head)
      let entries = try JSONDecoder().decode([Entry].self, from: json)
      var keys: [KeyVersionID: (AcmeKey, KeyDescription)] = [:]
      for entry in entries {
        let material = try AES.KeyWrap.unwrap(entry.wrapped, using: wrapKey)
        guard let key = AcmeKey(stored: material, as: entry.description.type) else { throw Self.damaged(path) }
        keys[entry.description.version] = (key, entry.description)
      }
      return keys
    } catch {
      throw Self.damaged(path)
    }
  }

  /// Replaces the file; on the disk when this returns.
  ///
  /// - Throws: `timeout` when it is not known whether it was replaced.
  func save(_ keys: [KeyVersionID: (AcmeKey, KeyDescription)]) throws(KeyCustodyError) {
    var bytes = head
    do {
      let entries = try keys.values.map { key, description in
        Entry(description: description, wrapped: try AES.KeyWrap.wrap(key.stored, using: wrapKey))
      }
      let sealed = try AES.GCM.seal(JSONEncoder().encode(entries), using: sealKey, authenticating: head)
      bytes += sealed.combined ?? Data()
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "The keys could not be encrypted.", diagnostic: "\(error)")
    }
    try replace(with: bytes)
  }

  private static func subkey(_ label: String, _ base: SymmetricKey, _ uuid: String) -> SymmetricKey {
    HKDF<SHA256>.deriveKey(
      inputKeyMaterial: base, salt: Array(uuid.utf8), info: Array("key-custody-acme/1/\(label)".utf8),
      outputByteCount: 32)
  }

  // MARK: Disk

  private static func read(_ path: String, _ disk: any Disk) throws(KeyCustodyError) -> Data? {
    do throws(DiskFailure) { return try disk.read(path) } catch { throw failure(error, path) }
  }

  private func replace(with bytes: Data) throws(KeyCustodyError) {
    let temporary = "\(path).new"
    do throws(DiskFailure) { try disk.write(bytes, to: temporary) } catch { throw Self.failure(error, temporary) }
    do throws(DiskFailure) {
      try disk.rename(temporary, to: path)
      try disk.synchronizeFolder(of: path)
    } catch {
      throw KeyCustodyError(
        .timeout, .unreachable, "The disk did not confirm a change of '\(path)'; whether it lasts is unknown.",
        remedy: "Look for the key before asking again.", diagnostic: "\(error.call) errno \(error.number)")
    }
  }

  private static func failure(_ error: DiskFailure, _ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "'\(path)' can't be read or written.",
      remedy: "Look at its folder: is it there, writable by this service, with room?",
      diagnostic: "\(error.call) errno \(error.number)")
  }

  private static func damaged(_ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The key file '\(path)' is damaged.", remedy: "Restore it from a backup.")
  }
}
