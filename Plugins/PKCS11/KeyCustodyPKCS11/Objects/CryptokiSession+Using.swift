import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// How an algorithm is carried out on a token.
enum UnwrapWay: Sendable, Hashable {
  /// C_Decrypt with CKM_RSA_PKCS_OAEP.
  case oaep(WrapAlgorithm)
  /// C_Decrypt with CKM_RSA_X_509, then the padding is undone on the host.
  case rawRSA(WrapAlgorithm)
  /// C_UnwrapKey with CKM_AES_KEY_WRAP.
  case aesKeyWrap

  /// The mechanism that the key must be allowed.
  var mechanism: CK_MECHANISM_TYPE {
    switch self {
    case .oaep: CKM_RSA_PKCS_OAEP
    case .rawRSA: CKM_RSA_X_509
    case .aesKeyWrap: CKM_AES_KEY_WRAP
    }
  }
}

/// Using keys: wrapping, unwrapping, signing.
extension CryptokiSession {
  /// The key, checked to fit an algorithm, and still there.
  func wrappingKey(_ version: KeyVersionID, _ algorithm: WrapAlgorithm) throws(PKCS11Failure) -> TokenKey {
    try withKey(version) { (key) throws(PKCS11Failure) in
      try key.require(algorithm)
      // A kept handle says nothing of today: another process may have destroyed the key.
      guard try read([CKA_ID], of: key.handle)[CKA_ID] == version.bytes else {
        throw .code(CKR_OBJECT_HANDLE_INVALID, "C_GetAttributeValue")
      }
      return key
    }
  }

  /// Wraps by AES key wrap.
  func wrapAES(_ secret: SecretBox, _ version: KeyVersionID) throws(PKCS11Failure) -> [UInt8] {
    try withKey(version) { (key) throws(PKCS11Failure) in
      try key.require(.aes256KW)
      return try wrapSecret(secret.bytes, with: key.handle)
    }
  }

  /// Unwraps.
  ///
  /// Whatever depends on the bytes is one error.
  func unwrap(
    _ wrapped: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm, _ way: UnwrapWay
  ) throws(PKCS11Failure) -> SecretBytes {
    try withKey(version) { (key) throws(PKCS11Failure) in
      try key.require(algorithm)
      try key.require(way)
      guard key.fits(wrapped) else { throw .custody(notAuthentic("The wrapped key")) }
      do throws(PKCS11Failure) { return try unwrap(wrapped, key, way) } catch {
        guard error.code != nil, !error.meansNotOffered else { throw error }
        // The codes for bad bytes and for a broken token are the same on real tokens. One good operation tells.
        try canary(key, version, algorithm, way, after: error)
        throw .custody(notAuthentic("The wrapped key"))
      }
    }
  }

  private func unwrap(_ wrapped: [UInt8], _ key: TokenKey, _ way: UnwrapWay) throws(PKCS11Failure) -> SecretBytes {
    switch way {
    case .oaep(let algorithm): return try decrypt(.oaep(algorithm), key: key.handle, wrapped)
    case .rawRSA(let algorithm):
      let block = try decrypt(.bare(CKM_RSA_X_509), key: key.handle, wrapped)
      return try onHost { () throws(KeyCustodyError) in try decodeOAEP(block, algorithm) }
    case .aesKeyWrap: return try unwrapSecret(wrapped, with: key.handle)
    }
  }

  /// Finds the key again and unwraps something that is known to be right.
  ///
  /// - Throws: `unavailable` when that fails: then the token is at fault, not the caller's bytes.
  private func canary(
    _ key: TokenKey, _ version: KeyVersionID, _ algorithm: WrapAlgorithm, _ way: UnwrapWay, after failure: PKCS11Failure
  ) throws(PKCS11Failure) {
    var trace = failure.translated.diagnostic ?? ""
    do {
      try confirmPresence()
      let handles = try handles(of: version)
      let isThere = (handles.privates + handles.secrets).contains(key.handle)
      if isThere, try knowsGood(key, algorithm, way) { return }
      trace += isThere ? "; canary: wrong answer" : "; canary: key not found"
    } catch { trace += "; canary: \(error.translated.diagnostic ?? error.translated.code.rawValue)" }
    throw .custody(
      KeyCustodyError(
        .unavailable, .unreachable, "The token failed, and fails on known-good input too.",
        remedy: "Check the token and its connection, then open the backend again.", diagnostic: trace))
  }

  private func knowsGood(
    _ key: TokenKey, _ algorithm: WrapAlgorithm, _ way: UnwrapWay
  ) throws(PKCS11Failure) -> Bool {
    let known = SecretBytes(copying: Self.checkBytes)
    let wrapped: [UInt8]
    if let publicKey = key.publicKey {
      wrapped = try onHost { () throws(KeyCustodyError) in try publicKey.wrap(known, algorithm) }
    } else {
      wrapped = try wrapSecret(known, with: key.handle)
    }
    return try unwrap(wrapped, key, way).isEqual(to: known)
  }

  /// Signs a digest and checks the signature, so that a fault of the device never goes out.
  func sign(
    _ digest: [UInt8], _ version: KeyVersionID, _ algorithm: SignatureAlgorithm
  ) throws(PKCS11Failure) -> [UInt8] {
    try withKey(version) { (key) throws(PKCS11Failure) in
      try key.require(algorithm)
      let signature = try sign(digest, key.handle, algorithm)
      let isRight = try onHost { () throws(KeyCustodyError) in
        try key.publicKey?.verify(signature, digest: digest, algorithm) ?? false
      }
      guard isRight else {
        throw .custody(
          KeyCustodyError(
            .fault, .internalFault, "The token made a signature that does not verify.",
            remedy: "Have the token checked.", diagnostic: "C_Sign"))
      }
      return signature
    }
  }

  /// Signs with a handle.
  func sign(
    _ digest: [UInt8], _ handle: CK_OBJECT_HANDLE, _ algorithm: SignatureAlgorithm
  ) throws(PKCS11Failure) -> [UInt8] {
    switch algorithm {
    case .es256, .es384, .es512: try sign(.bare(CKM_ECDSA), key: handle, digest)
    case .rs256: try sign(.bare(CKM_RSA_PKCS), key: handle, DER.digestInfoSHA256(digest))
    case .ps256: try sign(.pss256, key: handle, digest)
    }
  }
}

extension TokenKey {
  /// Refuses an algorithm that does not fit the key's type or role.
  func require(_ algorithm: WrapAlgorithm) throws(PKCS11Failure) {
    guard description.role == .wrapping, WrapAlgorithm.fitting(description.type).contains(algorithm) else {
      throw .custody(unfit(algorithm.rawValue))
    }
  }

  /// Refuses an algorithm that does not fit the key's type or role.
  func require(_ algorithm: SignatureAlgorithm) throws(PKCS11Failure) {
    guard description.role == .signing, SignatureAlgorithm.fitting(description.type).contains(algorithm) else {
      throw .custody(unfit(algorithm.rawValue))
    }
  }

  /// Refuses a way that the key was not allowed when it was made.
  func require(_ way: UnwrapWay) throws(PKCS11Failure) {
    guard let mechanisms, !mechanisms.contains(way.mechanism) else { return }
    throw .custody(
      KeyCustodyError(
        .unsupported, .notOffered,
        "The key \(description.version) was made for other mechanisms than this algorithm needs.",
        remedy: "Use the algorithm it was made for, or a new version made with today's configuration ('emulate')."))
  }

  private func unfit(_ algorithm: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType,
      "'\(algorithm)' does not fit a \(description.role) key of type \(description.type).",
      remedy: "Use an algorithm of that key, or another key.")
  }

  /// Whether wrapped bytes have a length that the key can have made.
  ///
  /// Lengths are public.
  func fits(_ wrapped: [UInt8]) -> Bool {
    switch description.type {
    case .rsa(let bits): wrapped.count == bits / 8
    case .aes: (24...72).contains(wrapped.count) && wrapped.count.isMultiple(of: 8)
    case .ec: false
    }
  }
}
