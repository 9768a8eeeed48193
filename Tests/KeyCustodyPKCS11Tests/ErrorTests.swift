import CKeyCustodyPKCS11
import KeyCustody
import Testing

@testable import KeyCustodyPKCS11

@Suite("Codes of modules in the closed taxonomy")
struct ErrorTests {
  @Test(
    "Each code has its class, and the call and code stand in the diagnostic only",
    arguments: [
      (CKR_PIN_INCORRECT, .credentialRejected), (CKR_PIN_LOCKED, .credentialRejected),
      (CKR_PIN_EXPIRED, .credentialRejected), (CKR_USER_PIN_NOT_INITIALIZED, .credentialRejected),
      (CKR_USER_NOT_LOGGED_IN, .unavailable), (CKR_DEVICE_REMOVED, .unavailable), (CKR_TOKEN_NOT_PRESENT, .unavailable),
      (CKR_GENERAL_ERROR, .unavailable), (CKR_FUNCTION_FAILED, .unavailable), (CKR_DEVICE_ERROR, .unavailable),
      (CKR_CRYPTOKI_NOT_INITIALIZED, .unavailable), (CKR_SESSION_HANDLE_INVALID, .unavailable),
      (CKR_SESSION_COUNT, .busy), (CKR_DEVICE_MEMORY, .busy), (CKR_MECHANISM_INVALID, .unsupported),
      (CKR_FUNCTION_NOT_SUPPORTED, .unsupported), (CKR_TOKEN_WRITE_PROTECTED, .unsupported),
      (CKR_TEMPLATE_INCONSISTENT, .unsupported), (CKR_KEY_FUNCTION_NOT_PERMITTED, .invalidInput),
      (CKR_ARGUMENTS_BAD, .fault), (0x8000_0005, .unavailable),
    ] as [(CK_RV, KeyCustodyError.Code)])
  func classes(_ code: CK_RV, _ expected: KeyCustodyError.Code) {
    let error = PKCS11Failure.code(code, "C_Something").translated
    #expect(error.code == expected)
    #expect(!error.message.isEmpty && !error.remedy.isEmpty)
    #expect(!"\(error)".contains("C_Something") && !"\(error)".contains("0x"))
    #expect(error.debugDescription.contains("C_Something"))
    #expect(error.diagnostic?.contains("0x\(String(code, radix: 16))") == true)
    #expect(error.code != .notFound, "absence is never read from a code")
  }

  @Test("RELIABILITY 3.10: a locked PIN is told apart from a wrong one, and neither is to be repeated")
  func lockedPIN() {
    let locked = PKCS11Failure.code(CKR_PIN_LOCKED, "C_Login").translated
    let wrong = PKCS11Failure.code(CKR_PIN_INCORRECT, "C_Login").translated
    #expect(locked.reason == .init("pin-locked") && wrong.reason == .wrongSecret)
    #expect(locked.retryClass == .afterOperator && wrong.retryClass == .afterOperator)
  }
}
