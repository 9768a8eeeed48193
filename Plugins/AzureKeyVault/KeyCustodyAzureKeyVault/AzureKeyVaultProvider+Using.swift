import KeyCustody
import KeyCustodyCrypto

extension AzureKeyVaultProvider {
  /// What the vault says of a key version now.
  ///
  /// - Throws: `notFound` when the vault says that it has none.
  func look(_ version: KeyVersionID, _ deadline: Duration) async throws(KeyCustodyError) -> RemoteKey {
    guard let oldest = try await versions(of: version, deadline).first else { throw absent(version) }
    let path = "/keys/\(name(of: version))/\(oldest.version)"
    let answer = try await vault.ask(VaultAsk(method: .get, path: path), by: deadline)
    guard answer.isGood else { throw refusal(answer, version) }
    return try await keep(
      try RemoteKey(answer.json, version, prefix: settings.settings.prefix, checkValue: nil), deadline)
  }

  /// Completes what a bundle says, and remembers it.
  func keep(_ key: RemoteKey, _ deadline: Duration) async throws(KeyCustodyError) -> RemoteKey {
    var key = key
    if key.description.fingerprint.isEmpty {
      if let known = keys[key.description.version], known.remoteVersion == key.remoteVersion {
        key = key.with(checkValue: known.description.fingerprint)
      } else {
        key = key.with(checkValue: try await checkValue(key, deadline))
      }
    }
    keys.add(key)
    return key
  }

  /// What tells an AES key from others: what it makes of a text that is always the same.
  private func checkValue(_ key: RemoteKey, _ deadline: Duration) async throws(KeyCustodyError) -> [UInt8] {
    let constant = try Hashing.sha256(Array("key-custody/v1/fingerprint".utf8))
    let body = Self.body(WrapAlgorithm.aes256KW.rawValue, SecretBytes(copying: constant))
    return Array(try Hashing.sha256(try await use(key, "wrapkey", body, deadline)).prefix(16))
  }

  func name(of version: KeyVersionID) -> String { Naming.name(version, prefix: settings.settings.prefix) }

  /// The vault says that a key version is not there.
  func absent(_ version: KeyVersionID) -> KeyCustodyError {
    if keys.forget(version) { broadcaster.send(.keyGone(version)) }
    return .noSuchKey(version)
  }

  func refusal(_ answer: VaultAnswer, _ version: KeyVersionID) -> KeyCustodyError {
    let error = answer.error(settings.vault.authority, version)
    return error.code == .notFound ? absent(version) : error
  }

  // MARK: Using keys

  func wrapped(
    _ secret: borrowing SecretBytes, _ request: WrapRequest, _ deadline: Duration
  ) async throws(KeyCustodyError) -> [UInt8] {
    let key = try await wrappingKey(request, deadline)
    try Self.checkSize(of: secret, key.description.type, request.algorithm)
    if settings.settings.wrapsOnHost, let publicKey = key.description.publicKey {
      let copy = secret.copy()
      return try await worker.run { () throws(KeyCustodyError) in
        try PublicKey(spki: publicKey).wrap(copy, request.algorithm)
      }
    }
    return try await use(key, "wrapkey", Self.body(request.algorithm.rawValue, secret), deadline)
  }

  func unwrapped(
    _ wrapped: [UInt8], _ request: WrapRequest, _ deadline: Duration
  ) async throws(KeyCustodyError) -> SecretBytes {
    let key = try await wrappingKey(request, deadline)
    // What can't be one is not sent; the answer is the same as the vault's to what does not open.
    let isPossible =
      switch key.description.type {
      case .rsa(let bits): wrapped.count == bits / 8
      default: [24, 32, 40].contains(wrapped.count)
      }
    guard isPossible else { throw notAuthentic("The wrapped key") }
    let body = HTTPAsk.Body(SecretBytes(copying: Self.text(request.algorithm.rawValue, wrapped)))
    let answer = try await vault.ask(
      VaultAsk(method: .post, path: "\(key.path)/unwrapkey", body: body), by: deadline)
    // The vault's own word: what a gateway answers says nothing of the wrapped key.
    guard answer.status != 400 || answer.code != "BadParameter" else { throw notAuthentic("The wrapped key") }
    let value = try value(answer, key)
    guard let secret = SecretBytes.decoded(base64URL: value), secret.count > 0 else {
      throw .unfit(name(of: request.version), "what it unwrapped is no base64url")
    }
    return secret
  }

  func signed(
    _ digest: [UInt8], _ request: SignRequest, _ deadline: Duration
  ) async throws(KeyCustodyError) -> [UInt8] {
    let key = try await known(request.version, deadline)
    guard key.description.role.signs else { throw Self.wrongRole(key) }
    let type = key.description.type
    guard SignatureAlgorithm.fitting(type).contains(request.algorithm) else {
      throw Self.unfitAlgorithm(request.algorithm.rawValue, type)
    }
    let body = HTTPAsk.Body(SecretBytes(copying: Self.text(request.algorithm.rawValue, digest)))
    let signature = try await use(key, "sign", body, deadline)
    let length =
      switch type {
      case .ec(let curve): 2 * curve.coordinateLength
      case .rsa(let bits): bits / 8
      case .aes: 0
      }
    guard signature.count == length else {
      throw .unfit(name(of: request.version), "its signature has \(signature.count) bytes, not \(length)")
    }
    return signature
  }

  private func wrappingKey(
    _ request: WrapRequest, _ deadline: Duration
  ) async throws(KeyCustodyError) -> RemoteKey {
    let key = try await known(request.version, deadline)
    guard key.description.role.wraps else { throw Self.wrongRole(key) }
    guard WrapAlgorithm.fitting(key.description.type).contains(request.algorithm) else {
      throw Self.unfitAlgorithm(request.algorithm.rawValue, key.description.type)
    }
    return key
  }

  private func known(_ version: KeyVersionID, _ deadline: Duration) async throws(KeyCustodyError) -> RemoteKey {
    if let key = keys[version] { return key }
    return try await look(version, deadline)
  }

  /// Has a key do its work, and gives the bytes that came of it.
  private func use(
    _ key: RemoteKey, _ operation: String, _ body: HTTPAsk.Body, _ deadline: Duration
  ) async throws(KeyCustodyError) -> [UInt8] {
    let answer = try await vault.ask(
      VaultAsk(method: .post, path: "\(key.path)/\(operation)", body: body), by: deadline)
    guard let bytes = [UInt8](base64URL: try value(answer, key)), !bytes.isEmpty else {
      throw .unfit(name(of: key.description.version), "what it answered is no base64url")
    }
    return bytes
  }

  /// The value of an answer, when it is of the version that was asked.
  private func value(_ answer: VaultAnswer, _ key: RemoteKey) throws(KeyCustodyError) -> String {
    let version = key.description.version
    guard answer.isGood else { throw refusal(answer, version) }
    return try answer.value(of: name(of: version), key.remoteVersion)
  }

  // MARK: Bodies and refusals

  static func body(_ algorithm: String, _ secret: borrowing SecretBytes) -> HTTPAsk.Body {
    let head = Array("{\"alg\":\"\(algorithm)\",\"value\":\"".utf8)
    return HTTPAsk.Body(secret.base64URL.preceded(by: head).followed(by: SecretBytes(copying: Array("\"}".utf8))))
  }

  static func text(_ algorithm: String, _ value: [UInt8]) -> [UInt8] {
    let body: JSON = ["alg": .string(algorithm), "value": .string(value.base64URL)]
    return body.bytes
  }

  private static func checkSize(
    of secret: borrowing SecretBytes, _ type: KeyType, _ algorithm: WrapAlgorithm
  ) throws(KeyCustodyError) {
    switch type {
    case .rsa(let bits):
      let room = bits / 8 - 2 * (algorithm == .rsaOAEP ? 20 : 32) - 2
      guard (1...room).contains(secret.count) else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "\(algorithm) with \(type) wraps 1 to \(room) bytes, not \(secret.count).")
      }
    default:
      guard [16, 24, 32].contains(secret.count) else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "\(algorithm) wraps secrets of 16, 24 or 32 bytes, not of \(secret.count).")
      }
    }
  }

  private static func wrongRole(_ key: RemoteKey) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType,
      "Key version \(key.description.version) is a \(key.description.role.rawValue) key, and was not made for this.",
      remedy: "Use a key that was made for this.")
  }

  private static func unfitAlgorithm(_ algorithm: String, _ type: KeyType) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType, "'\(algorithm)' does not fit a key of type \(type).",
      remedy: "Use an algorithm of that key type, or another key.")
  }
}
