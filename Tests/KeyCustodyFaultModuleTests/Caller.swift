import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A caller of PKCS#11 that does what a test wants, right or wrong, and looks at every answer.
@safe
struct Caller: @unchecked Sendable {
  // Unchecked: the table of functions never changes, and the library stays loaded.
  let functions: UnsafeMutablePointer<CK_FUNCTION_LIST>
  let module: FaultModule
  let token: SoftHSMToken
  private let cryptoki: Cryptoki

  /// A fault module on a token of its own, not initialised.
  init(rules: [String] = []) async throws {
    token = try await SoftHSM.makeToken()
    module = try FaultModule(rules: rules)
    cryptoki = try Cryptoki(path: module.path)
    unsafe functions = cryptoki.functions
  }

  /// A caller that is initialised and has one session, logged in.
  static func ready(rules: [String] = []) async throws -> (Caller, CK_SESSION_HANDLE) {
    let caller = try await Caller(rules: rules)
    try #require(caller.initialize() == CKR_OK)
    let session = try caller.open()
    try #require(caller.login(session) == CKR_OK)
    return (caller, session)
  }

  func report() throws -> FaultModule.Report { try module.report() }
  func command(_ line: String) throws { try module.command(line) }

  // MARK: The module and the token

  /// C_Initialize, never while another test makes a token: SoftHSM stumbles over that.
  func initialize() -> CK_RV { Self.code { () throws(PKCS11Failure) in try cryptoki.initialize() } }

  /// C_Initialize in a forked child, past the lock of the process it comes from.
  func initializeInChild() -> CK_RV {
    var arguments = unsafe CK_C_INITIALIZE_ARGS()
    unsafe arguments.flags = CKF_OS_LOCKING_OK
    return unsafe functions.pointee.C_Initialize(&arguments)
  }

  private static func code(_ body: () throws(PKCS11Failure) -> Void) -> CK_RV {
    do throws(PKCS11Failure) { try body() } catch { return error.code ?? CKR_GENERAL_ERROR }
    return CKR_OK
  }

  func finalize() -> CK_RV { unsafe functions.pointee.C_Finalize(nil) }

  func info() -> CK_RV {
    var info = CK_INFO()
    return unsafe functions.pointee.C_GetInfo(&info)
  }

  /// The slots with a token, or the answer.
  func slots() -> (CK_RV, [CK_SLOT_ID]) {
    // The bare call, which a forked child may make too.
    var slots = [CK_SLOT_ID](repeating: 0, count: 4096)
    var count = CK_ULONG(slots.count)
    let code = unsafe functions.pointee.C_GetSlotList(1, &slots, &count)
    return (code, code == CKR_OK ? Array(slots.prefix(Int(count))) : [])
  }

  func label(_ slot: CK_SLOT_ID) -> (CK_RV, String) {
    var info = CK_TOKEN_INFO()
    let code = unsafe functions.pointee.C_GetTokenInfo(slot, &info)
    let bytes = unsafe withUnsafeBytes(of: info.label) { unsafe Array($0) }
    return (code, String(decoding: bytes, as: UTF8.self).trimmingBlanks)
  }

  func slot() throws -> CK_SLOT_ID { try #require(slots().1.first { label($0).1 == token.label }) }

  // MARK: Sessions

  func tryOpen(_ slot: CK_SLOT_ID) -> (CK_RV, CK_SESSION_HANDLE) {
    var session: CK_SESSION_HANDLE = 0
    let code = unsafe functions.pointee.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nil, nil, &session)
    return (code, session)
  }

  func open() throws -> CK_SESSION_HANDLE {
    let (code, session) = tryOpen(try slot())
    try #require(code == CKR_OK)
    return session
  }

  func close(_ session: CK_SESSION_HANDLE) -> CK_RV { unsafe functions.pointee.C_CloseSession(session) }

  func login(_ session: CK_SESSION_HANDLE, pin: [UInt8]? = nil) -> CK_RV {
    let pin = pin ?? SoftHSM.contents(of: token.pinFile)
    return Self.code { () throws(PKCS11Failure) in
      try cryptoki.login(session, as: CKU_USER, pin: SecretBytes(copying: pin))
    }
  }

  /// C_Login in a forked child, past the turn of the process it comes from.
  func loginInChild(_ session: CK_SESSION_HANDLE) -> CK_RV {
    var pin = SoftHSM.contents(of: token.pinFile)
    return unsafe functions.pointee.C_Login(session, CKU_USER, &pin, CK_ULONG(pin.count))
  }

  func logout(_ session: CK_SESSION_HANDLE) -> CK_RV { unsafe functions.pointee.C_Logout(session) }

  /// The state that a session tells, and the answer.
  func state(_ session: CK_SESSION_HANDLE) -> (CK_RV, CK_STATE) {
    var info = CK_SESSION_INFO()
    info.state = 99
    let code = unsafe functions.pointee.C_GetSessionInfo(session, &info)
    return (code, info.state)
  }

  func random(_ session: CK_SESSION_HANDLE) -> (CK_RV, [UInt8]) {
    var bytes = [UInt8](repeating: 0, count: 16)
    let code = unsafe functions.pointee.C_GenerateRandom(session, &bytes, 16)
    return (code, bytes)
  }

  // MARK: Keys

  /// Makes a private AES key, on the token or of the session.
  func makeKey(_ session: CK_SESSION_HANDLE, lasting: Bool = true) -> (CK_RV, CK_OBJECT_HANDLE) {
    var isTrue: CK_BBOOL = 1
    var isLasting: CK_BBOOL = lasting ? 1 : 0
    var length: CK_ULONG = 32
    var mechanism = unsafe CK_MECHANISM(mechanism: CKM_AES_KEY_GEN, pParameter: nil, ulParameterLen: 0)
    var key: CK_OBJECT_HANDLE = 0
    let code = unsafe withUnsafeMutablePointer(to: &isTrue) { isTrue in
      unsafe withUnsafeMutablePointer(to: &isLasting) { isLasting in
        unsafe withUnsafeMutablePointer(to: &length) { length in
          var attributes = unsafe [
            CK_ATTRIBUTE(type: CKA_TOKEN, pValue: isLasting, ulValueLen: 1),
            CK_ATTRIBUTE(type: CKA_VALUE_LEN, pValue: length, ulValueLen: CK_ULONG(MemoryLayout<CK_ULONG>.size)),
          ]
          for type in [CKA_PRIVATE, CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_EXTRACTABLE, CKA_SIGN] {
            unsafe attributes.append(CK_ATTRIBUTE(type: type, pValue: isTrue, ulValueLen: 1))
          }
          return unsafe functions.pointee.C_GenerateKey(
            session, &mechanism, &attributes, CK_ULONG(attributes.count), &key)
        }
      }
    }
    return (code, key)
  }

  /// The objects that a session sees, or the first wrong answer.
  func objects(_ session: CK_SESSION_HANDLE) -> (CK_RV, Int) {
    var found = [CK_OBJECT_HANDLE](repeating: 0, count: 64)
    var count: CK_ULONG = 0
    var code = unsafe functions.pointee.C_FindObjectsInit(session, nil, 0)
    guard code == CKR_OK else { return (code, 0) }
    code = unsafe functions.pointee.C_FindObjects(session, &found, 64, &count)
    let end = unsafe functions.pointee.C_FindObjectsFinal(session)
    return (code == CKR_OK ? end : code, Int(count))
  }

  typealias KeyFunction = (CK_SESSION_HANDLE, UnsafeMutablePointer<CK_MECHANISM>?, CK_OBJECT_HANDLE) -> CK_RV
  typealias WorkFunction = (
    CK_SESSION_HANDLE, UnsafeMutablePointer<UInt8>?, CK_ULONG, UnsafeMutablePointer<UInt8>?,
    UnsafeMutablePointer<CK_ULONG>?
  ) -> CK_RV

  private func work(
    _ session: CK_SESSION_HANDLE, _ type: CK_MECHANISM_TYPE, _ key: CK_OBJECT_HANDLE, _ input: [UInt8],
    begin: KeyFunction, finish: WorkFunction
  ) -> (CK_RV, [UInt8]) {
    var mechanism = unsafe CK_MECHANISM(mechanism: type, pParameter: nil, ulParameterLen: 0)
    let code = unsafe begin(session, &mechanism, key)
    guard code == CKR_OK else { return (code, []) }
    var input = input
    var output = [UInt8](repeating: 0xee, count: 64)
    var count: CK_ULONG = 64
    let end = unsafe finish(session, &input, CK_ULONG(input.count), &output, &count)
    return (end, Array(output.prefix(Int(count))))
  }

  /// AES-ECB of one block.
  func encrypt(_ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE) -> (CK_RV, [UInt8]) {
    unsafe work(
      session, CKM_AES_ECB, key, Self.block, begin: functions.pointee.C_EncryptInit,
      finish: functions.pointee.C_Encrypt)
  }

  func decrypt(_ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE, _ input: [UInt8]) -> (CK_RV, [UInt8]) {
    unsafe work(
      session, CKM_AES_ECB, key, input, begin: functions.pointee.C_DecryptInit, finish: functions.pointee.C_Decrypt)
  }

  /// AES-CMAC.
  func sign(_ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE) -> (CK_RV, [UInt8]) {
    unsafe work(
      session, CKM_AES_CMAC, key, Self.block, begin: functions.pointee.C_SignInit, finish: functions.pointee.C_Sign)
  }

  /// AES key wrap of one key under another.
  func wrap(
    _ session: CK_SESSION_HANDLE, _ wrapping: CK_OBJECT_HANDLE, _ key: CK_OBJECT_HANDLE
  ) -> (CK_RV, [UInt8]) {
    var mechanism = unsafe CK_MECHANISM(mechanism: CKM_AES_KEY_WRAP, pParameter: nil, ulParameterLen: 0)
    var output = [UInt8](repeating: 0xee, count: 64)
    var count: CK_ULONG = 64
    let code = unsafe functions.pointee.C_WrapKey(session, &mechanism, wrapping, key, &output, &count)
    return (code, Array(output.prefix(Int(count))))
  }

  /// One attribute's bytes, in a buffer of 64.
  func attribute(
    _ session: CK_SESSION_HANDLE, _ key: CK_OBJECT_HANDLE, _ type: CK_ATTRIBUTE_TYPE
  ) -> (CK_RV, [UInt8]) {
    var output = [UInt8](repeating: 0xee, count: 64)
    var count: CK_ULONG = 0
    let code = unsafe output.withUnsafeMutableBytes { bytes in
      var attribute = unsafe CK_ATTRIBUTE(type: type, pValue: bytes.baseAddress, ulValueLen: 64)
      let code = unsafe functions.pointee.C_GetAttributeValue(session, key, &attribute, 1)
      unsafe count = attribute.ulValueLen
      return code
    }
    return (code, Array(output.prefix(Int(clamping: min(count, 64)))))
  }

  static let block = [UInt8](0..<16)
}

extension String {
  fileprivate var trimmingBlanks: String {
    var text = self[...]
    while text.last == " " { text.removeLast() }
    return String(text)
  }
}
