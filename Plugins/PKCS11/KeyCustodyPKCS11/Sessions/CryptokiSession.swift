import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// An open session of a token: objects, keys and operations.
///
/// Used by one thread at a time; its owner sees to that.
///
/// Outputs are allocated in advance; asking a module for a size first would, on some, do the whole work twice.
struct CryptokiSession: Sendable {
  let cryptoki: Cryptoki
  let handle: CK_SESSION_HANDLE
  /// The token.
  let token: PKCS11Token
  /// How the token was reached when the session was opened.
  let standing: PKCS11Token.Standing
  /// Set when something is left in it that should not be.
  let spoiled = Spoiled()

  /// Whether a session has to be closed after its work.
  final class Spoiled: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
  }

  private let serial: UInt64

  /// A session that is open.
  init(
    _ token: PKCS11Token, _ handle: CK_SESSION_HANDLE, _ serial: UInt64, _ standing: PKCS11Token.Standing
  ) {
    self.token = token
    self.handle = handle
    self.serial = serial
    self.standing = standing
    cryptoki = token.module.cryptoki
  }

  /// Opens a session.
  init(_ token: PKCS11Token, _ standing: PKCS11Token.Standing) throws(PKCS11Failure) {
    let handle: CK_SESSION_HANDLE
    token.module.sessions.opening(on: standing.slot)
    do throws(PKCS11Failure) { handle = try token.module.cryptoki.openSession(standing.slot) } catch {
      if error.meansDeviceFailed { token.module.sessions.lose() }
      throw error
    }
    self.init(token, handle, token.module.sessions.opened(handle), standing)
  }

  /// The same session, for calls about the token as it is reached now.
  func under(_ standing: PKCS11Token.Standing) -> CryptokiSession {
    CryptokiSession(token, handle, serial, standing)
  }

  /// Whether its number is its own still.
  var isOurs: Bool { token.module.sessions.holds(handle, serial) }

  /// Closes it, unless its number is another's by now.
  ///
  /// `isGone` tells whether it may have ended by itself. One that worked just now has not, and is noted as lost where the
  /// module disowns it.
  func close(isGone: Bool = true) {
    guard token.module.sessions.close(handle, serial), !cryptoki.closeSurely(handle, isGone: isGone) else { return }
    token.module.sessions.lose()
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
        found += batch.prefix(Int(clamping: count))
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
    do throws(PKCS11Failure) { return try readTogether(types, of: object) } catch {
      // These say that some attribute was left out, not that the call failed; some modules answer none after the first
      // that they can't, and some say so in the words of a broken device.
      let isPartial = [CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE, CKR_GENERAL_ERROR].contains(error.code)
      guard isPartial else { throw error }
      var result: [CK_ATTRIBUTE_TYPE: [UInt8]] = [:]
      var refusals = 0
      for type in types {
        do throws(PKCS11Failure) { result.merge(try readAlone(type, of: object)) { old, _ in old } } catch {
          guard error.code == CKR_GENERAL_ERROR else { throw error }
          refusals += 1
        }
      }
      guard refusals == 0 || !result.isEmpty else { throw error }
      return result
    }
  }

  /// One that the object has not is no value; a device that stumbles is asked four times.
  private func readAlone(
    _ type: CK_ATTRIBUTE_TYPE, of object: CK_OBJECT_HANDLE
  ) throws(PKCS11Failure) -> [CK_ATTRIBUTE_TYPE: [UInt8]] {
    var failures = 0
    while true {
      do throws(PKCS11Failure) { return try readTogether([type], of: object) } catch {
        if error.code == CKR_ATTRIBUTE_TYPE_INVALID || error.code == CKR_ATTRIBUTE_SENSITIVE { return [:] }
        failures += 1
        guard error.code == CKR_GENERAL_ERROR, failures < 4 else { throw error }
      }
    }
  }

  private func readTogether(
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
      try unsafe cryptoki.call("C_GetAttributeValue", cryptoki.functions.pointee.C_GetAttributeValue) {
        unsafe $0(handle, object, &attributes, CK_ULONG(attributes.count))
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
    return unsafe Array(buffer.prefix(Int(clamping: attribute.ulValueLen)))
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

  /// Destroys an object of this session; where that fails, the session is closed after its work, which removes it.
  func discard(_ object: CK_OBJECT_HANDLE) {
    do throws(PKCS11Failure) { try destroy(object) } catch { spoiled.set() }
  }

  /// C_DestroyObject.
  func destroy(_ object: CK_OBJECT_HANDLE) throws(PKCS11Failure) {
    try unsafe cryptoki.call("C_DestroyObject", cryptoki.functions.pointee.C_DestroyObject) {
      $0(handle, object)
    }
  }
}
