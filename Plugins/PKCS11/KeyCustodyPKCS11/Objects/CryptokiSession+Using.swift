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
      try requireName(version, of: key)
      return key
    }
  }

  /// Wraps by AES key wrap.
  ///
  /// With `isChecked`, what was made is unwrapped again and compared, so that a fault of the device never goes out: data
  /// under a key that was wrapped wrongly would be lost.
  func wrapAES(_ secret: SecretBox, _ version: KeyVersionID, isChecked: Bool) throws(PKCS11Failure) -> [UInt8] {
    try withKey(version) { (key) throws(PKCS11Failure) in
      try key.require(.aes256KW)
      let wrapped = try wrapSecret(secret.bytes, with: key.handle)
      guard isChecked else { return wrapped }
      guard try unwrapSecret(wrapped, with: key.handle).isEqual(to: secret.bytes) else {
        throw .code(CKR_DEVICE_ERROR, "C_WrapKey (checked)")
      }
      try requireName(version, of: key)
      return wrapped
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
      var failures = 0
      var isProven = false
      while true {
        do throws(PKCS11Failure) { return try unwrap(wrapped, key, way) } catch {
          guard error.mayMeanBadInput else { throw error }
          guard !isProven else { throw .custody(notAuthentic("The wrapped key")) }
          failures += 1
          // The codes for bad bytes and for a broken token are the same on real tokens; a token that stumbles does not
          // stumble four times in a row and then does right.
          guard failures >= (error.meansDeviceFailed ? 4 : 2) else { continue }
          try canary(key, version, algorithm, way)
          // It works now; did it all the time? One more try tells.
          isProven = true
        }
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
  /// - Throws: when that fails: then the token is at fault, not the caller's bytes.
  private func canary(
    _ key: TokenKey, _ version: KeyVersionID, _ algorithm: WrapAlgorithm, _ way: UnwrapWay
  ) throws(PKCS11Failure) {
    try confirmPresence()
    let handles = try handles(of: version)
    guard (handles.privates + handles.secrets).contains(key.handle) else {
      throw .code(CKR_OBJECT_HANDLE_INVALID, "C_FindObjects (canary)")
    }
    guard try knowsGood(key, algorithm, way) else { throw .code(CKR_DEVICE_ERROR, "C_Decrypt (canary)") }
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
      guard isRight else { throw .code(CKR_DEVICE_ERROR, "C_Sign (checked)") }
      return signature
    }
  }

  /// Signs with a handle.
  func sign(
    _ digest: [UInt8], _ handle: CK_OBJECT_HANDLE, _ algorithm: SignatureAlgorithm
  ) throws(PKCS11Failure) -> [UInt8] {
    switch algorithm {
    case .es256, .es384, .es512: try sign(.bare(CKM_ECDSA), key: handle, digest)
    case .rs256, .rs384, .rs512: try sign(.bare(CKM_RSA_PKCS), key: handle, DER.digestInfo(digest))
    case .ps256, .ps384, .ps512: try sign(.pss(hashLength: digest.count), key: handle, digest)
    }
  }
}

extension TokenKey {
  /// Refuses an algorithm that does not fit the key's type or role.
  func require(_ algorithm: WrapAlgorithm) throws(PKCS11Failure) {
    guard description.role.wraps, WrapAlgorithm.fitting(description.type).contains(algorithm) else {
      throw .custody(unfit(algorithm.rawValue))
    }
  }

  /// Refuses an algorithm that does not fit the key's type or role.
  func require(_ algorithm: SignatureAlgorithm) throws(PKCS11Failure) {
    guard description.role.signs, SignatureAlgorithm.fitting(description.type).contains(algorithm) else {
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
