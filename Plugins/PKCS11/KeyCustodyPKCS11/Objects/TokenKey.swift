import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// A key version as a session found it on the token.
struct TokenKey: Sendable {
  /// The private or secret key.
  let handle: CK_OBJECT_HANDLE
  /// The public half, where it is there.
  let publicHandle: CK_OBJECT_HANDLE?
  /// The public half, ready for use on the host.
  let publicKey: PublicKey?
  /// Everything that may be told.
  let description: KeyDescription
  /// What the key may be used with; `nil` when the token does not tell.
  let mechanisms: [CK_MECHANISM_TYPE]?
}

/// The handles that carry one key version's name.
struct KeyHandles {
  var privates: [CK_OBJECT_HANDLE] = []
  var publics: [CK_OBJECT_HANDLE] = []
  var secrets: [CK_OBJECT_HANDLE] = []

  var isEmpty: Bool { privates.isEmpty && publics.isEmpty && secrets.isEmpty }
  /// Whether only a public half is left, of a key whose destruction or making was cut off.
  var isLeftover: Bool { privates.isEmpty && secrets.isEmpty && !publics.isEmpty }
  /// Whether two objects share a class, or a pair and a secret key share the name.
  var isAmbiguous: Bool {
    publics.count > 1 || privates.count + secrets.count > 1 || !secrets.isEmpty && !publics.isEmpty
  }
}

extension CryptokiSession {
  /// The key objects of a name.
  ///
  /// Certificates and data of the same CKA_ID don't count.
  func handles(of version: KeyVersionID) throws(PKCS11Failure) -> KeyHandles {
    let template = Template([(CKA_TOKEN, .flag(true)), (CKA_ID, .bytes(version.bytes))])
    var result = KeyHandles()
    for handle in try find(template, limit: 64) {
      switch CK_ULONG(octets: try read([CKA_CLASS], of: handle)[CKA_CLASS]) {
      case CKO_PRIVATE_KEY: result.privates.append(handle)
      case CKO_PUBLIC_KEY: result.publics.append(handle)
      case CKO_SECRET_KEY: result.secrets.append(handle)
      default: break
      }
    }
    return result
  }

  /// Works with a key.
  ///
  /// Where a handle kept from before is refused, the key is looked up once more and compared.
  func withKey<Result: ~Copyable>(
    _ version: KeyVersionID, _ work: (TokenKey) throws(PKCS11Failure) -> Result
  ) throws(PKCS11Failure) -> Result {
    guard let kept = keys[version] else { return try work(try lookUp(version)) }
    do { return try work(kept) } catch {
      guard error.meansHandleIsGone else { throw error }
      return try work(try lookUp(version))
    }
  }

  /// Finds a key and reads what it is.
  ///
  /// - Throws: `notFound` only when the token answers and the session is logged in.
  func lookUp(_ version: KeyVersionID) throws(PKCS11Failure) -> TokenKey {
    keys[version] = nil
    let handles = try handles(of: version)
    if handles.isEmpty || handles.isLeftover {
      try confirmPresence()
      throw .custody(Self.unknown(version))
    }
    guard !handles.isAmbiguous else { throw .custody(Self.ambiguous(version)) }
    let key: TokenKey
    if let secret = handles.secrets.first {
      key = try describeSecret(secret, version)
    } else if let privateKey = handles.privates.first {
      key = try describePair(privateKey, handles.publics.first, version)
    } else {
      throw .custody(Self.unknown(version))
    }
    try onHost { () throws(KeyCustodyError) in
      try token.fingerprints.check(key.description.fingerprint, of: version)
    }
    if keys.count >= 10_000 { keys = [:] }
    keys[version] = key
    return key
  }

  static func unknown(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, .keyVersionUnknown, "The token holds no key version \(version).",
      remedy: "If it was there, restore the token from its backup.")
  }

  static func ambiguous(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .init("duplicate-objects"),
      "The token holds several objects of one class under the name \(version) (CKA_ID), so which is meant is unknown.",
      remedy: "Remove the wrong one with the vendor's tool, for instance: pkcs11-tool --delete-object --id \(version).")
  }

  private static let described: [CK_ATTRIBUTE_TYPE] = [
    CKA_KEY_TYPE, CKA_LABEL, CKA_LOCAL, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
    CKA_MODIFIABLE, CKA_ALLOWED_MECHANISMS,
  ]

  private func describeSecret(
    _ handle: CK_OBJECT_HANDLE, _ version: KeyVersionID
  ) throws(PKCS11Failure) -> TokenKey {
    let values = KeyAttributes(
      try read(Self.described + [CKA_VALUE_LEN, CKA_WRAP, CKA_UNWRAP, CKA_DECRYPT], of: handle))
    let length = values.number(CKA_VALUE_LEN) ?? 0
    guard values.number(CKA_KEY_TYPE) == CKK_AES, length == 32 || length == 0 else {
      throw .custody(Self.foreign(version, "it is not an AES-256 key"))
    }
    guard values.flag(CKA_UNWRAP), !values.flag(CKA_DECRYPT) else {
      throw .custody(Self.foreign(version, "its usages are not those of a wrapping key alone"))
    }
    let check = try checkValue(of: handle)
    return TokenKey(
      handle: handle, publicHandle: nil, publicKey: nil,
      description: values.description(
        version, .aes(bits: 256), .wrapping, publicKey: nil, fingerprint: check,
        remarks: length == 0 ? ["The token does not tell the key's length."] : []),
      mechanisms: values.mechanisms)
  }

  /// What tells an AES key from others: SHA-256 of a fixed value wrapped under it.
  ///
  /// The value is public, and so is the wrapped form; neither tells anything of the key.
  private func checkValue(of handle: CK_OBJECT_HANDLE) throws(PKCS11Failure) -> [UInt8] {
    let wrapped = try wrapSecret(SecretBytes(copying: Self.checkBytes), with: handle)
    return try onHost { () throws(KeyCustodyError) in try Self.checkValue(wrapped) }
  }

  static func checkValue(_ wrapped: [UInt8]) throws(KeyCustodyError) -> [UInt8] {
    try Hashing.digest(.sha256, Array("key-custody/v1/fingerprint".utf8), wrapped)
  }

  /// 32 bytes, known to all.
  static let checkBytes = Array("key-custody/v1/known-check-bytes".utf8)

  private func describePair(
    _ handle: CK_OBJECT_HANDLE, _ publicHandle: CK_OBJECT_HANDLE?, _ version: KeyVersionID
  ) throws(PKCS11Failure) -> TokenKey {
    let types = [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN]
    let values = KeyAttributes(try read(Self.described + types, of: handle))
    let half = try publicHandle.map { (half) throws(PKCS11Failure) in
      try read([CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT], of: half)
    }
    guard let spki = PublicKeyAttributes.subjectPublicKeyInfo(privateKey: values.values, publicKey: half) else {
      throw .custody(Self.foreign(version, "its public half is missing, or of a type that is not offered"))
    }
    let wraps = values.flag(CKA_UNWRAP) || values.flag(CKA_DECRYPT)
    guard wraps != values.flag(CKA_SIGN) else {
      throw .custody(Self.foreign(version, "its usages are those of several roles, or of none"))
    }
    return try onHost { () throws(KeyCustodyError) in
      let publicKey = try PublicKey(spki: spki)
      return TokenKey(
        handle: handle, publicHandle: publicHandle, publicKey: publicKey,
        description: values.description(
          version, publicKey.type, wraps ? .wrapping : .signing, publicKey: spki,
          fingerprint: try Hashing.sha256(spki),
          remarks: publicHandle == nil ? ["The public half is missing on the token."] : []),
        mechanisms: values.mechanisms)
    }
  }

  private static func foreign(_ version: KeyVersionID, _ why: String) -> KeyCustodyError {
    KeyCustodyError(
      .unsupported, .init("foreign-key"), "The token's key \(version) can't be used here: \(why).",
      remedy: "Use a key that this service made or imported.")
  }
}
