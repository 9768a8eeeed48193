import CKeyCustodyPKCS11
import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A loaded PKCS#11 module: its functions as Swift methods that throw the code and the name of the call.
///
/// Every method blocks: call them on a thread of one's own.
@safe
struct Cryptoki: @unchecked Sendable {
  // Unchecked: the table of functions never changes, and the library stays loaded to the end of the process.
  let functions: UnsafeMutablePointer<CK_FUNCTION_LIST>
  /// The process that loaded it; see ``ForkCounter``.
  private let process = ForkCounter.current

  /// Loads a module.
  ///
  /// It is never unloaded: modules leave threads and exit handlers behind.
  init(path: String) throws(KeyCustodyError) {
    typealias GetFunctionList = @convention(c) (UnsafeMutablePointer<UnsafeMutablePointer<CK_FUNCTION_LIST>?>?) -> CK_RV
    guard let library = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let text = unsafe dlerror().map { unsafe String(cString: $0) } ?? ""
      throw Self.notAModule(path, "dlopen: \(text)")
    }
    guard let symbol = unsafe dlsym(library, "C_GetFunctionList") else {
      throw Self.notAModule(path, "dlsym: no C_GetFunctionList")
    }
    let getFunctionList = unsafe unsafeBitCast(symbol, to: GetFunctionList.self)
    var list: UnsafeMutablePointer<CK_FUNCTION_LIST>?
    let code = unsafe getFunctionList(&list)
    guard code == CKR_OK, let list = unsafe list else {
      throw Self.notAModule(path, "C_GetFunctionList \(PKCS11Failure.name(of: code))")
    }
    unsafe functions = list
  }

  private static func notAModule(_ path: String, _ diagnostic: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "'\(path)' can't be loaded as a PKCS#11 module.",
      remedy: "Set 'module' to the vendor's PKCS#11 library for this architecture.", diagnostic: diagnostic)
  }

  /// Whether this process is a copy that `fork` made: the module's state is the parent's, and must be left alone.
  var isForked: Bool { ForkCounter.current != process }

  /// What every call answers in a copy.
  static let forked = KeyCustodyError(
    .unavailable, .init("forked"), "This process was copied by fork after the PKCS#11 module was loaded.",
    remedy: "Open backends after forking, or let the child call exec.")

  /// Calls one function; everything but CKR_OK is thrown.
  func call<Function>(
    _ name: StaticString, _ function: Function?, _ body: (Function) -> CK_RV
  ) throws(PKCS11Failure) {
    guard !isForked else { throw .custody(Self.forked) }
    guard let function else { throw .code(CKR_FUNCTION_NOT_SUPPORTED, name) }
    let code = body(function)
    guard code == CKR_OK else { throw .code(code, name) }
  }

  // MARK: The module

  /// C_Initialize; the module locks with the system's primitives.
  func initialize() throws(PKCS11Failure) {
    var arguments = unsafe CK_C_INITIALIZE_ARGS()
    unsafe arguments.flags = CKF_OS_LOCKING_OK
    // A copy that fork made may find the lock taken for ever.
    guard !isForked else { throw .custody(Self.forked) }
    try SlotTurn.shared.take { () throws(PKCS11Failure) in
      try unsafe call("C_Initialize", functions.pointee.C_Initialize) { unsafe $0(&arguments) }
    }
  }

  /// C_Finalize.
  func finalize() throws(PKCS11Failure) {
    try unsafe call("C_Finalize", functions.pointee.C_Finalize) { $0(nil) }
  }

  // MARK: Slots and tokens

  /// The slots that hold a token.
  ///
  /// The call for their number comes first, as the standard asks: it renews the list.
  func slotsWithToken() throws(PKCS11Failure) -> [CK_SLOT_ID] {
    guard !isForked else { throw .custody(Self.forked) }
    return try SlotTurn.shared.take { () throws(PKCS11Failure) in try listSlots() }
  }

  private func listSlots() throws(PKCS11Failure) -> [CK_SLOT_ID] {
    var count: CK_ULONG = 0
    try unsafe call("C_GetSlotList", functions.pointee.C_GetSlotList) { unsafe $0(1, nil, &count) }
    // A module's number is not to be trusted with our memory.
    var slots = [CK_SLOT_ID](repeating: 0, count: Int(min(count, 65_536)) + 16)
    count = CK_ULONG(slots.count)
    try unsafe call("C_GetSlotList", functions.pointee.C_GetSlotList) { unsafe $0(1, &slots, &count) }
    return Array(slots.prefix(Int(clamping: count)))
  }

  /// C_GetTokenInfo.
  func tokenInfo(_ slot: CK_SLOT_ID) throws(PKCS11Failure) -> PKCS11TokenInfo {
    var info = CK_TOKEN_INFO()
    try unsafe call("C_GetTokenInfo", functions.pointee.C_GetTokenInfo) { unsafe $0(slot, &info) }
    return PKCS11TokenInfo(info)
  }

  /// The largest key, in bits, that the token names for a mechanism; `nil` when it does not have the mechanism.
  func largestKey(_ mechanism: CK_MECHANISM_TYPE, on slot: CK_SLOT_ID) throws(PKCS11Failure) -> Int? {
    var info = CK_MECHANISM_INFO()
    do {
      try unsafe call("C_GetMechanismInfo", functions.pointee.C_GetMechanismInfo) { unsafe $0(slot, mechanism, &info) }
    } catch {
      guard error.code == CKR_MECHANISM_INVALID else { throw error }
      return nil
    }
    return Int(clamping: info.ulMaxKeySize)
  }

  /// C_InitToken; the label is filled up with blanks to 32 bytes.
  func initializeToken(_ slot: CK_SLOT_ID, label: String, pin: borrowing SecretBytes) throws(PKCS11Failure) {
    var text = Array(label.utf8.prefix(32))
    text += [UInt8](repeating: 0x20, count: 32 - text.count)
    try pin.withBytes { (pin) throws(PKCS11Failure) in
      try unsafe pin.withUnsafeBytes { (pin) throws(PKCS11Failure) in
        try SlotTurn.shared.take { () throws(PKCS11Failure) in
          try unsafe call("C_InitToken", functions.pointee.C_InitToken) {
            unsafe $0(slot, pin.octets, CK_ULONG(pin.count), &text)
          }
        }
      }
    }
  }

  // MARK: Sessions

  /// Opens a serial session for reading and writing.
  func openSession(_ slot: CK_SLOT_ID) throws(PKCS11Failure) -> CK_SESSION_HANDLE {
    var session: CK_SESSION_HANDLE = 0
    try unsafe call("C_OpenSession", functions.pointee.C_OpenSession) {
      unsafe $0(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nil, nil, &session)
    }
    return session
  }

  /// C_CloseSession.
  func closeSession(_ session: CK_SESSION_HANDLE) throws(PKCS11Failure) {
    try unsafe call("C_CloseSession", functions.pointee.C_CloseSession) { $0(session) }
  }

  /// Closes a session, whatever comes in the way: one that stays open is lost to its owner and counts all the same.
  ///
  /// A device that stumbles is asked again.
  ///
  /// - Parameter isGone: whether the module may well have no such session, and is believed when it says so.
  /// - Returns: whether it is closed for sure.
  func closeSurely(_ session: CK_SESSION_HANDLE, isGone: Bool) -> Bool {
    for _ in 0..<4 {
      do throws(PKCS11Failure) {
        try closeSession(session)
        return true
      } catch {
        guard error.meansDeviceFailed else { return isGone && error.meansSessionIsClosed }
      }
    }
    return false
  }

  /// C_CloseAllSessions; a device that stumbles is asked again.
  func closeAllSurely(_ slot: CK_SLOT_ID) {
    for _ in 0..<4 {
      do throws(PKCS11Failure) {
        return try unsafe call("C_CloseAllSessions", functions.pointee.C_CloseAllSessions) { $0(slot) }
      } catch {
        guard error.meansDeviceFailed else { return }
      }
    }
  }

  /// Whether the user is logged in as this session sees it.
  func isLoggedIn(_ session: CK_SESSION_HANDLE) throws(PKCS11Failure) -> Bool {
    var info = CK_SESSION_INFO()
    try unsafe call("C_GetSessionInfo", functions.pointee.C_GetSessionInfo) { unsafe $0(session, &info) }
    return info.state == CKS_RW_USER_FUNCTIONS || info.state == CKS_RO_USER_FUNCTIONS
  }

  /// C_Login.
  func login(
    _ session: CK_SESSION_HANDLE, as user: CK_USER_TYPE, pin: borrowing SecretBytes
  ) throws(PKCS11Failure) {
    try pin.withBytes { (pin) throws(PKCS11Failure) in
      try unsafe pin.withUnsafeBytes { (pin) throws(PKCS11Failure) in
        try SlotTurn.shared.take { () throws(PKCS11Failure) in
          try unsafe call("C_Login", functions.pointee.C_Login) {
            unsafe $0(session, user, pin.octets, CK_ULONG(pin.count))
          }
        }
      }
    }
  }

  /// C_InitPIN, on a session of the security officer.
  func initializePIN(_ session: CK_SESSION_HANDLE, pin: borrowing SecretBytes) throws(PKCS11Failure) {
    try pin.withBytes { (pin) throws(PKCS11Failure) in
      try unsafe pin.withUnsafeBytes { (pin) throws(PKCS11Failure) in
        try SlotTurn.shared.take { () throws(PKCS11Failure) in
          try unsafe call("C_InitPIN", functions.pointee.C_InitPIN) {
            unsafe $0(session, pin.octets, CK_ULONG(pin.count))
          }
        }
      }
    }
  }
}

extension UnsafeRawBufferPointer {
  /// The bytes as PKCS#11 takes input: without `const`, though it only reads.
  var octets: UnsafeMutablePointer<UInt8>? {
    unsafe UnsafeMutablePointer(mutating: baseAddress?.assumingMemoryBound(to: UInt8.self))
  }
}

extension UnsafeMutableRawBufferPointer {
  /// The bytes as PKCS#11 takes output.
  var octets: UnsafeMutablePointer<UInt8>? { unsafe baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
