import CKeyCustodyPKCS11
import KeyCustody

/// What a session does with keys.
extension CryptokiSession {
  /// Random bytes of the token.
  func random(_ count: Int) throws(PKCS11Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe cryptoki.call("C_GenerateRandom", cryptoki.functions.pointee.C_GenerateRandom) {
      unsafe $0(handle, &bytes, CK_ULONG(count))
    }
    return bytes
  }

  /// C_GenerateKeyPair.
  func generatePair(
    _ mechanism: Mechanism, publicKey: Template, privateKey: Template
  ) throws(PKCS11Failure) -> (publicKey: CK_OBJECT_HANDLE, privateKey: CK_OBJECT_HANDLE) {
    var first: CK_OBJECT_HANDLE = 0
    var second: CK_OBJECT_HANDLE = 0
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe publicKey.lend { (publicAttributes, publicCount) throws(PKCS11Failure) in
        try unsafe privateKey.lend { (privateAttributes, privateCount) throws(PKCS11Failure) in
          try unsafe cryptoki.call("C_GenerateKeyPair", cryptoki.functions.pointee.C_GenerateKeyPair) {
            unsafe $0(
              handle, mechanism, publicAttributes, publicCount, privateAttributes, privateCount, &first, &second)
          }
        }
      }
    }
    return (first, second)
  }

  /// C_GenerateKey.
  func generateKey(_ mechanism: Mechanism, _ template: Template) throws(PKCS11Failure) -> CK_OBJECT_HANDLE {
    var object: CK_OBJECT_HANDLE = 0
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe template.lend { (attributes, count) throws(PKCS11Failure) in
        try unsafe cryptoki.call("C_GenerateKey", cryptoki.functions.pointee.C_GenerateKey) {
          unsafe $0(handle, mechanism, attributes, count, &object)
        }
      }
    }
    return object
  }

  /// Decrypts in one piece; the answer has at most as many bytes as the input.
  func decrypt(
    _ mechanism: Mechanism, key: CK_OBJECT_HANDLE, _ input: [UInt8]
  ) throws(PKCS11Failure) -> SecretBytes {
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe cryptoki.call("C_DecryptInit", cryptoki.functions.pointee.C_DecryptInit) {
        unsafe $0(handle, mechanism, key)
      }
    }
    var source = input
    var length: CK_ULONG = 0
    let whole = try SecretBytes(count: input.count) { (buffer: inout MutableRawSpan) throws(PKCS11Failure) in
      try unsafe buffer.withUnsafeMutableBytes { (buffer) throws(PKCS11Failure) in
        length = CK_ULONG(buffer.count)
        try unsafe cryptoki.call("C_Decrypt", cryptoki.functions.pointee.C_Decrypt) {
          unsafe $0(handle, &source, CK_ULONG(source.count), buffer.octets, &length)
        }
      }
    }
    guard length <= CK_ULONG(input.count) else { throw .code(CKR_BUFFER_TOO_SMALL, "C_Decrypt") }
    return whole.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<Int(length))) }
  }

  /// Signs in one piece.
  func sign(
    _ mechanism: Mechanism, key: CK_OBJECT_HANDLE, _ input: [UInt8]
  ) throws(PKCS11Failure) -> [UInt8] {
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe cryptoki.call("C_SignInit", cryptoki.functions.pointee.C_SignInit) {
        unsafe $0(handle, mechanism, key)
      }
    }
    var source = input
    var signature = [UInt8](repeating: 0, count: 1024)
    var length = CK_ULONG(signature.count)
    try unsafe cryptoki.call("C_Sign", cryptoki.functions.pointee.C_Sign) {
      unsafe $0(handle, &source, CK_ULONG(source.count), &signature, &length)
    }
    return Array(signature.prefix(Int(clamping: length)))
  }

  /// Wraps one key object with another.
  func wrapKey(
    _ mechanism: Mechanism, with wrapping: CK_OBJECT_HANDLE, _ key: CK_OBJECT_HANDLE
  ) throws(PKCS11Failure) -> [UInt8] {
    var wrapped = [UInt8](repeating: 0, count: 1024)
    var length = CK_ULONG(wrapped.count)
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe cryptoki.call("C_WrapKey", cryptoki.functions.pointee.C_WrapKey) {
        unsafe $0(handle, mechanism, wrapping, key, &wrapped, &length)
      }
    }
    return Array(wrapped.prefix(Int(clamping: length)))
  }

  /// Unwraps a key object.
  func unwrapKey(
    _ mechanism: Mechanism, with unwrapping: CK_OBJECT_HANDLE, _ wrapped: [UInt8], as template: Template
  ) throws(PKCS11Failure) -> CK_OBJECT_HANDLE {
    var source = wrapped
    var object: CK_OBJECT_HANDLE = 0
    try unsafe mechanism.lend { (mechanism) throws(PKCS11Failure) in
      try unsafe template.lend { (attributes, count) throws(PKCS11Failure) in
        try unsafe cryptoki.call("C_UnwrapKey", cryptoki.functions.pointee.C_UnwrapKey) {
          unsafe $0(handle, mechanism, unwrapping, &source, CK_ULONG(source.count), attributes, count, &object)
        }
      }
    }
    return object
  }

  // MARK: Short secrets by AES key wrap

  /// Wraps a secret of 16, 24 or 32 bytes through an object that lives for the length of the call.
  func wrapSecret(_ secret: borrowing SecretBytes, with key: CK_OBJECT_HANDLE) throws(PKCS11Failure) -> [UInt8] {
    let object = try create(KeyTemplates.sessionSecret, value: secret)
    defer { discard(object) }
    return try wrapKey(.bare(CKM_AES_KEY_WRAP), with: key, object)
  }

  /// Unwraps a secret into an object that lives for the length of the call, and reads its value.
  func unwrapSecret(_ wrapped: [UInt8], with key: CK_OBJECT_HANDLE) throws(PKCS11Failure) -> SecretBytes {
    let object = try unwrapKey(.bare(CKM_AES_KEY_WRAP), with: key, wrapped, as: KeyTemplates.sessionSecret)
    defer { discard(object) }
    return try readSecret(of: object, limit: wrapped.count)
  }
}
