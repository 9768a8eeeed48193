import KeyCustody
import KeyCustodyCrypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The key that a vault keeps for itself, as it is stored: what its secrets and backups are under.
///
/// It is no key of the vault's callers: no address names it, and no permission reaches it.
struct InternalKeyRecord: Codable, Sendable, Hashable {
  var version: KeyVersionID
  var type: KeyType
  var algorithm: WrapAlgorithm
  /// Whether the provider is known to have made it.
  var isReady: Bool
}

/// Bytes under AES-256-GCM and a data key of their own, which the vault's internal key wraps.
struct SealedValue: Codable, Sendable, Hashable {
  var format = 1
  /// The version of the internal key.
  var key: KeyVersionID
  var algorithm: WrapAlgorithm
  /// The data key, wrapped; base64url, like the rest.
  var dataKey: String
  var nonce: String
  /// The ciphertext, followed by the tag.
  var sealed: String

  /// Reads the JSON of a backup.
  init(blob: [UInt8]) throws(KeyCustodyError) {
    do { self = try JSONDecoder().decode(SealedValue.self, from: Data(blob)) } catch { throw Self.corrupt }
    guard format == 1 else { throw Self.corrupt }
  }

  init(key: KeyVersionID, algorithm: WrapAlgorithm, dataKey: [UInt8], nonce: [UInt8], sealed: [UInt8]) {
    self.key = key
    self.algorithm = algorithm
    self.dataKey = dataKey.base64URL
    self.nonce = nonce.base64URL
    self.sealed = sealed.base64URL
  }

  /// The JSON of a backup.
  var blob: [UInt8] {
    get throws(KeyCustodyError) { try Self.json(self) }
  }

  static func json(_ value: some Encodable) throws(KeyCustodyError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return Array(try encoder.encode(value)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A backup can't be written as JSON.", diagnostic: "\(error)")
    }
  }

  static func value<Value: Decodable>(_ json: borrowing SecretBytes) throws(KeyCustodyError) -> Value {
    let bytes = json.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch { throw corrupt }
  }

  static let corrupt = KeyCustodyError(
    .invalidInput, .malformed, "The backup is corrupt, or is not this vault's.",
    remedy: "Give the backup as it was made, to the vault that made it.")
}

extension Vaults {
  /// Seals bytes so that only this vault's provider opens them, and only as what `names` say.
  func seal(
    _ value: borrowing SecretBytes, as names: [String], _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> SealedValue {
    let key = try await internalKey(admission, context)
    let dataKey = try environment.random.secret(AES256GCM.keyLength)
    let nonce = try environment.random.bytes(AES256GCM.nonceLength)
    let extra = Self.additionalData(names, admission)
    var cipher = try dataKey.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key, for: .sealing) }
    var sealed = [UInt8](repeating: 0, count: value.count + AES256GCM.tagLength)
    try value.withBytes { (value) throws(KeyCustodyError) in
      var span = sealed.mutableSpan
      var output = unsafe span.mutableBytes
      try cipher.seal(
        value, nonce: unsafe nonce.span.bytes, additionalData: unsafe extra.span.bytes, into: &output)
    }
    let wrapped = try await usingInternalKey(admission) { () async throws(KeyCustodyError) in
      try await admission.provider.wrap(
        dataKey, with: WrapRequest(version: key.version, algorithm: key.algorithm, context: context))
    }
    return SealedValue(
      key: key.version, algorithm: key.algorithm, dataKey: wrapped.bytes, nonce: nonce, sealed: sealed)
  }

  /// Has the provider use the internal key, whose absence is damage and nobody's wrong name.
  private func usingInternalKey<Answer: ~Copyable>(
    _ admission: Admission, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    do throws(KeyCustodyError) { return try await body() } catch {
      throw error.code == .notFound ? VaultErrors.internalKeyMissing(admission.vault.name) : error
    }
  }

  /// Opens what ``seal(_:as:_:_:)`` sealed.
  ///
  /// - Throws: `integrityFailure`: `not-authentic` for anything else, `damaged` where the provider lacks the key.
  func open(
    _ value: SealedValue, as names: [String], _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let failure = KeyCustodyError(
      .integrityFailure, .notAuthentic, "A value that the vault sealed was altered, or stands in another's place.",
      remedy: "Restore the policy store from a backup.")
    let path = try Self.path(admission.vault.name, "internal-key")
    guard let key = try await internalKeys.read(path), key.version == value.key, key.algorithm == value.algorithm,
      let wrapped = [UInt8](base64URL: value.dataKey), let nonce = [UInt8](base64URL: value.nonce),
      let sealed = [UInt8](base64URL: value.sealed), nonce.count == AES256GCM.nonceLength,
      sealed.count >= AES256GCM.tagLength
    else { throw failure }
    let dataKey = try await usingInternalKey(admission) { () async throws(KeyCustodyError) in
      try await admission.provider.unwrap(
        wrapped, with: WrapRequest(version: key.version, algorithm: key.algorithm, context: context))
    }
    guard dataKey.count == AES256GCM.keyLength else { throw failure }
    let extra = Self.additionalData(names, admission)
    var cipher = try dataKey.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key, for: .opening) }
    var isAuthentic = false
    let opened = SecretBytes(count: sealed.count - AES256GCM.tagLength) { output in
      isAuthentic = unsafe cipher.open(
        sealed.span.bytes, nonce: nonce.span.bytes, additionalData: extra.span.bytes, into: &output)
    }
    guard isAuthentic else { throw failure }
    return opened
  }

  /// The vault's own key, made when it is first needed.
  ///
  /// What is meant is recorded before the provider is asked, so that every attempt makes the same one.
  private func internalKey(
    _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> InternalKeyRecord {
    let path = try Self.path(admission.vault.name, "internal-key")
    if let found = try await internalKeys.read(path), found.isReady { return found }
    let capabilities = admission.provider.capabilities
    let types: [KeyType] = [.aes(bits: 256), .rsa(bits: 3072), .rsa(bits: 2048)]
    let fitting = types.first {
      capabilities.offers(.generate($0)) && capabilities.preferredWrapAlgorithm(for: $0) != nil
    }
    guard let type = fitting, let algorithm = capabilities.preferredWrapAlgorithm(for: type) else {
      throw KeyCustodyError(
        .unsupported, .notOffered, "The vault's key provider can't make the key that secrets and backups are under.",
        remedy: "'keycustody doctor' lists what it offers; secrets need AES-256 or RSA keys that unwrap.")
    }
    _ = try await internalKeys.create(
      path,
      InternalKeyRecord(
        version: try KeyVersionID(random: environment.random), type: type, algorithm: algorithm, isReady: false))
    guard let meant = try await internalKeys.read(path) else { throw VaultErrors.vaultUnknown(admission.vault.name) }
    do throws(KeyCustodyError) {
      _ = try await admission.provider.generate(
        GenerateKeyRequest(
          version: meant.version, type: meant.type, role: .wrapping, label: "vault \(admission.vault.name)"),
        context: context)
    } catch {
      // Made by an attempt whose answer was lost, or by somebody who needs it at this moment.
      guard error.reason == .alreadyExists else { throw error }
    }
    guard let ready = try await internalKeys.update(path, { $0.isReady = true }) else {
      // Of a vault that was deleted meanwhile.
      _ = try? await admission.provider.destroy(meant.version, context: context)
      throw VaultErrors.vaultUnknown(admission.vault.name)
    }
    return ready
  }

  private static func additionalData(_ names: [String], _ admission: Admission) -> [UInt8] {
    // No name holds a line feed, so that no two lists of names look alike.
    [UInt8](utf8: (["key-custody/v1/vault-value", admission.vault.name.folded] + names).joined(separator: "\n"))
  }
}
