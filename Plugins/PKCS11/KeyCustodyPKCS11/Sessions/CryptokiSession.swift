import CKeyCustodyPKCS11
import KeyCustody

/// An open session of a token: objects, keys and operations.
///
/// Used by one thread at a time; its owner sees to that.
///
/// Outputs are allocated in advance; asking a module for a size first would, on some, do the whole work twice.
final class CryptokiSession {
  let cryptoki: Cryptoki
  let handle: CK_SESSION_HANDLE
  /// The token.
  let token: PKCS11Token
  /// Keys found before; handles are valid for this session's token only and are checked when they are refused.
  var keys: [KeyVersionID: TokenKey] = [:]

  init(_ token: PKCS11Token, slot: CK_SLOT_ID? = nil) throws(PKCS11Failure) {
    self.token = token
    cryptoki = token.module.cryptoki
    handle = try cryptoki.openSession(slot ?? token.slot)
  }

  /// Closes it; an error means that it is closed already.
  func close() { try? cryptoki.closeSession(handle) }

  // MARK: Presence

  /// Checks that what is not found is really absent: the session is logged in and the token answers.
  ///
  /// A logged-out session, and on some modules a vanished token, answers a search with "no objects" and CKR_OK.
  func confirmPresence() throws(PKCS11Failure) {
    guard try cryptoki.isLoggedIn(handle) else { throw .code(CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo") }
    let info = try cryptoki.tokenInfo(token.slot)
    guard info.instance == token.info.instance else { throw .code(CKR_TOKEN_NOT_PRESENT, "C_GetTokenInfo") }
  }

  // MARK: Objects

  /// The objects that a template matches, at most `limit`.
  func find(_ template: Template, limit: Int) throws(PKCS11Failure) -> [CK_OBJECT_HANDLE] {
    try unsafe template.lend { (attributes, count) throws(PKCS11Failure) in
      try unsafe cryptoki.call("C_FindObjectsInit", cryptoki.functions.pointee.C_FindObjectsInit) {
        unsafe $0(handle, attributes, count)
      }
    }
    var found: [CK_OBJECT_HANDLE] = []
    do {
      var batch = [CK_OBJECT_HANDLE](repeating: 0, count: min(limit, 512))
      var count: CK_ULONG = 0
      repeat {
        try unsafe cryptoki.call("C_FindObjects", cryptoki.functions.pointee.C_FindObjects) {
          unsafe $0(handle, &batch, CK_ULONG(batch.count), &count)
        }
        found += batch.prefix(Int(count))
      } while count > 0 && found.count < limit
    } catch {
      try? finishFinding()
      throw error
    }
    try finishFinding()
    return Array(found.prefix(limit))
  }

  private func finishFinding() throws(PKCS11Failure) {
    try unsafe cryptoki.call("C_FindObjectsFinal", cryptoki.functions.pointee.C_FindObjectsFinal) { $0(handle) }
  }

  /// Reads attributes of up to 1 KiB each; those that the object has not, or does not tell, are left out.
  func read(
    _ types: [CK_ATTRIBUTE_TYPE], of object: CK_OBJECT_HANDLE
  ) throws(PKCS11Failure) -> [CK_ATTRIBUTE_TYPE: [UInt8]] {
    let room = 1024
    var buffer = [UInt8](repeating: 0, count: room * types.count)
    var lengths: [CK_ULONG] = []
    var span = buffer.mutableSpan
    var bytes = unsafe span.mutableBytes
    try unsafe bytes.withUnsafeMutableBytes { (bytes) throws(PKCS11Failure) in
      var attributes = unsafe types.indices.map { index in
        unsafe CK_ATTRIBUTE(
          type: types[index], pValue: bytes.baseAddress?.advanced(by: index * room), ulValueLen: CK_ULONG(room))
      }
      do throws(PKCS11Failure) {
        try unsafe cryptoki.call("C_GetAttributeValue", cryptoki.functions.pointee.C_GetAttributeValue) {
          unsafe $0(handle, object, &attributes, CK_ULONG(attributes.count))
        }
      } catch {
        // These say that some attribute was left out, not that the call failed.
        guard [CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE].contains(error.code) else { throw error }
      }
      unsafe lengths = attributes.map { unsafe $0.ulValueLen }
    }
    var result: [CK_ATTRIBUTE_TYPE: [UInt8]] = [:]
    for (index, type) in types.enumerated() where lengths[index] <= CK_ULONG(room) {
      result[type] = Array(buffer[index * room..<index * room + Int(lengths[index])])
    }
    return result
  }

  /// Reads one attribute of any size: for the values of data objects.
  ///
  /// `nil` when the object has none.
  func readLong(
    _ type: CK_ATTRIBUTE_TYPE, of object: CK_OBJECT_HANDLE
  ) throws(PKCS11Failure) -> [UInt8]? {
    var attribute = unsafe CK_ATTRIBUTE(type: type, pValue: nil, ulValueLen: 0)
    do {
      try unsafe cryptoki.call("C_GetAttributeValue", cryptoki.functions.pointee.C_GetAttributeValue) {
        unsafe $0(handle, object, &attribute, 1)
      }
    } catch {
      guard error.code == CKR_ATTRIBUTE_TYPE_INVALID else { throw error }
      return nil
    }
    guard unsafe attribute.ulValueLen <= 1 << 24 else { return nil }
    var buffer = unsafe [UInt8](repeating: 0, count: Int(attribute.ulValueLen))
    guard !buffer.isEmpty else { return [] }
    var span = buffer.mutableSpan
    var bytes = unsafe span.mutableBytes
    try unsafe bytes.withUnsafeMutableBytes { (bytes) throws(PKCS11Failure) in
      unsafe attribute.pValue = bytes.baseAddress
      try unsafe cryptoki.call("C_GetAttributeValue", cryptoki.functions.pointee.C_GetAttributeValue) {
        unsafe $0(handle, object, &attribute, 1)
      }
    }
    return unsafe Array(buffer.prefix(Int(attribute.ulValueLen)))
  }

  /// Reads the value of a secret of at most `limit` bytes straight into memory that is cleared.
  func readSecret(of object: CK_OBJECT_HANDLE, limit: Int) throws(PKCS11Failure) -> SecretBytes {
    var length = 0
    let whole = try SecretBytes(count: limit) { (buffer: inout MutableRawSpan) throws(PKCS11Failure) in
      try unsafe buffer.withUnsafeMutableBytes { (buffer) throws(PKCS11Failure) in
        var attribute = unsafe CK_ATTRIBUTE(
          type: CKA_VALUE, pValue: buffer.baseAddress, ulValueLen: CK_ULONG(buffer.count))
        try unsafe cryptoki.call("C_GetAttributeValue", cryptoki.functions.pointee.C_GetAttributeValue) {
          unsafe $0(handle, object, &attribute, 1)
        }
        unsafe length = Int(clamping: attribute.ulValueLen)
      }
    }
    guard length <= limit else { throw .code(CKR_BUFFER_TOO_SMALL, "C_GetAttributeValue") }
    return whole.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<length)) }
  }

  /// Makes an object.
  func create(_ template: Template) throws(PKCS11Failure) -> CK_OBJECT_HANDLE {
    try unsafe template.lend { (attributes, count) throws(PKCS11Failure) in
      try unsafe create(attributes, count)
    }
  }

  /// Makes a secret key object with a value from cleared memory.
  func create(_ template: Template, value: borrowing SecretBytes) throws(PKCS11Failure) -> CK_OBJECT_HANDLE {
    try value.withBytes { (bytes) throws(PKCS11Failure) in
      try unsafe bytes.withUnsafeBytes { (bytes) throws(PKCS11Failure) in
        try unsafe template.lend(value: bytes) { (attributes, count) throws(PKCS11Failure) in
          try unsafe create(attributes, count)
        }
      }
    }
  }

  private func create(
    _ attributes: UnsafeMutablePointer<CK_ATTRIBUTE>?, _ count: CK_ULONG
  ) throws(PKCS11Failure) -> CK_OBJECT_HANDLE {
    var object: CK_OBJECT_HANDLE = 0
    try unsafe cryptoki.call("C_CreateObject", cryptoki.functions.pointee.C_CreateObject) {
      unsafe $0(handle, attributes, count, &object)
    }
    return object
  }

  /// C_DestroyObject.
  func destroy(_ object: CK_OBJECT_HANDLE) throws(PKCS11Failure) {
    try unsafe cryptoki.call("C_DestroyObject", cryptoki.functions.pointee.C_DestroyObject) {
      $0(handle, object)
    }
  }
}
