import CKeyCustodyPKCS11
import KeyCustody

/// What ends a piece of work on a session: a code of the module with the call that answered it, or an error of ours.
enum PKCS11Failure: Error {
  /// A function of the module and its code.
  case code(CK_RV, StaticString)
  /// An error that needs no translation.
  case custody(KeyCustodyError)
  /// A key is not found that was there since the module was started: a module started anew tells whether it is gone.
  case lostKey(KeyVersionID)
  /// The token answers, but the sentinel is not among its objects.
  case noSentinel
  /// The token has no room for a session, and sessions may be open that nobody holds: a module started anew has none.
  case lostSessions

  /// The module's code, where that is what happened, or the one that fits.
  var code: CK_RV? {
    switch self {
    case .code(let code, _): code
    case .noSentinel: CKR_TOKEN_NOT_PRESENT
    case .lostSessions: CKR_SESSION_COUNT
    case .custody, .lostKey: nil
    }
  }

  /// Whether the session is of no more use.
  ///
  /// The call that answered it did nothing.
  var meansSessionIsGone: Bool {
    switch code {
    case CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED: true
    default: false
    }
  }

  /// What may help against it.
  enum Cure {
    /// Nothing: the call itself was refused.
    case none
    /// A new session.
    case session
    /// Finding out what is wrong with the token, and mending it.
    case repair
    /// Starting the module anew.
    case restart
  }

  /// What may help against it, by the code alone.
  var cure: Cure {
    switch self {
    case .lostKey, .lostSessions: return .restart
    case .code, .custody, .noSentinel:
      if meansSessionIsGone { return .session }
      return meansTokenIsGone || meansDeviceFailed || meansHandleIsGone ? .repair : .none
    }
  }

  /// Whether the token is out of reach, or this process logged out of it.
  var meansTokenIsGone: Bool {
    switch code {
    case CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED, CKR_DEVICE_REMOVED, CKR_SLOT_ID_INVALID,
      CKR_CRYPTOKI_NOT_INITIALIZED, CKR_USER_NOT_LOGGED_IN:
      true
    default: false
    }
  }

  /// Whether the code is said of broken devices and of calls that were refused alike.
  var meansDeviceFailed: Bool {
    switch code {
    case CKR_DEVICE_ERROR, CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_FUNCTION_CANCELED, CKR_HOST_MEMORY,
      CKR_DEVICE_MEMORY, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_TOO_MANY_TYPES:
      true
    // A vendor's own code: many say so that the connection was lost.
    case let code?: code & Self.vendorDefined != 0
    case nil: false
    }
  }

  /// Whether the handle names no session, by the module's word.
  ///
  /// In a module that is ours alone it is closed all the same, unless ``SessionRegister`` knows the number as another
  /// session's by now: the word may be wrong, and an open session counts. Where others open sessions too, a number that
  /// is free may be theirs, so there ``SessionCaller`` lets it be.
  var meansSessionIsClosed: Bool { code == CKR_SESSION_HANDLE_INVALID || code == CKR_SESSION_CLOSED }

  /// Whether a handle names nothing (any more).
  var meansHandleIsGone: Bool {
    switch code {
    case CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_HANDLE_INVALID,
      CKR_UNWRAPPING_KEY_HANDLE_INVALID:
      true
    default: false
    }
  }

  /// Whether the token can't do what was asked at all, whatever the bytes.
  var meansNotOffered: Bool {
    switch code {
    case CKR_MECHANISM_INVALID, CKR_FUNCTION_NOT_SUPPORTED, CKR_CURVE_NOT_SUPPORTED, CKR_KEY_FUNCTION_NOT_PERMITTED,
      CKR_KEY_TYPE_INCONSISTENT, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CKR_USER_NOT_LOGGED_IN, CKR_HOST_MEMORY,
      CKR_DEVICE_MEMORY, CKR_TOKEN_NOT_PRESENT, CKR_DEVICE_REMOVED, CKR_CRYPTOKI_NOT_INITIALIZED,
      CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT:
      true
    default: meansSessionIsGone || meansHandleIsGone
    }
  }

  /// Whether the token says that it can't do this at all, or not with this key.
  var isRefusal: Bool {
    guard case .code = self else { return false }
    let error = translated
    return error.code == .unsupported || error.reason == .wrongKeyType
  }

  /// Whether altered bytes can have caused it, in the token or in the decoding on the host.
  var mayMeanBadInput: Bool {
    switch self {
    case .code: meansDeviceFailed || !meansNotOffered && !meansTokenIsGone
    case .custody(let error): error == KeyCustodyError(.integrityFailure, .notAuthentic, "")
    case .lostKey, .noSentinel, .lostSessions: false
    }
  }

  /// The failure in the closed taxonomy.
  ///
  /// Function and code stand in the diagnostic.
  var translated: KeyCustodyError {
    switch self {
    case .custody(let error): error
    case .lostKey(let version): CryptokiSession.unknown(version)
    case .noSentinel: Sentinel.missing
    case .lostSessions: Self.translate(CKR_SESSION_COUNT, "C_OpenSession \(Self.name(of: CKR_SESSION_COUNT))")
    case .code(let code, let function): Self.translate(code, "\(function) \(Self.name(of: code))")
    }
  }
}

extension PKCS11Failure {
  private static func translate(_ code: CK_RV, _ diagnostic: String) -> KeyCustodyError {
    switch code {
    case CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE, CKR_PIN_LOCKED, CKR_PIN_EXPIRED,
      CKR_USER_PIN_NOT_INITIALIZED:
      return rejectedPIN(code, diagnostic)
    case CKR_SESSION_COUNT, CKR_DEVICE_MEMORY, CKR_HOST_MEMORY:
      return KeyCustodyError(
        .busy, .init("token-full"), "The token has no room for another session or object now.",
        remedy: "Lower 'sessions', or end other users of the token.", retryAfter: .seconds(1), diagnostic: diagnostic)
    case CKR_USER_NOT_LOGGED_IN:
      return KeyCustodyError(
        .unavailable, .init("logged-out"), "The token's login was lost, and could not be renewed yet.",
        remedy: "Make sure that nothing else in this process logs out of the token.",
        retryAfter: .milliseconds(100), diagnostic: diagnostic)
    case CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED, CKR_DEVICE_REMOVED, CKR_SLOT_ID_INVALID, CKR_DEVICE_ERROR,
      CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID,
      CKR_SESSION_CLOSED, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED, CKR_FUNCTION_CANCELED,
      CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_HANDLE_INVALID,
      CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_TOO_MANY_TYPES,
      _ where code & Self.vendorDefined != 0:
      return KeyCustodyError(
        .unavailable, .unreachable, "The token does not answer as it should.",
        remedy: "Check the token and its connection; the backend comes back by itself.",
        retryAfter: .milliseconds(100), diagnostic: diagnostic)
    case CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_FUNCTION_NOT_SUPPORTED, CKR_CURVE_NOT_SUPPORTED,
      CKR_KEY_SIZE_RANGE, CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID,
      CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_READ_ONLY:
      return KeyCustodyError(
        .unsupported, .notOffered, "The token, or this key on it, does not allow that.",
        remedy: "'keycustody doctor' lists what the token offers.", diagnostic: diagnostic)
    case CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_TYPE_INCONSISTENT, CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
      CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT:
      return KeyCustodyError(
        .invalidInput, .wrongKeyType, "That key may not be used so.", remedy: "Use a key of the fitting role and type.",
        diagnostic: diagnostic)
    case CKR_TOKEN_WRITE_PROTECTED, CKR_SESSION_READ_ONLY:
      return KeyCustodyError(
        .unsupported, .init("write-protected"), "The token is write-protected.",
        remedy: "Its administrator can lift the protection.", diagnostic: diagnostic)
    default:
      return KeyCustodyError(
        .fault, .internalFault, "The PKCS#11 module refused a call it should have taken.",
        remedy: "Report this with the diagnostic from the log.", diagnostic: diagnostic)
    }
  }

  private static func rejectedPIN(_ code: CK_RV, _ diagnostic: String) -> KeyCustodyError {
    let (reason, message, remedy): (KeyCustodyError.Reason, String, String) =
      switch code {
      case CKR_PIN_LOCKED:
        (
          .init("pin-locked"), "The token has locked its user PIN after too many wrong ones.",
          "The token's security officer can set a new PIN (C_InitPIN; for instance pkcs11-tool --init-pin)."
        )
      case CKR_PIN_EXPIRED:
        (
          .init("pin-expired"), "The token's user PIN has expired.",
          "Set a new PIN with the vendor's tool and put it into the PIN file."
        )
      case CKR_USER_PIN_NOT_INITIALIZED:
        (
          .init("pin-not-set"), "The token has no user PIN yet.",
          "The token's security officer must set one (C_InitPIN; for instance pkcs11-tool --init-pin)."
        )
      default:
        (
          .wrongSecret, "The token refused the user PIN. It was tried once and is not tried again.",
          "Correct what 'pinFile' or 'pinEnvironment' names, then open the backend again; more wrong tries may lock it."
        )
      }
    return KeyCustodyError(.credentialRejected, reason, message, remedy: remedy, diagnostic: diagnostic)
  }

  /// CKR_VENDOR_DEFINED: from here on codes are the vendor's.
  private static let vendorDefined: CK_RV = 0x8000_0000

  /// `CKR_PIN_INCORRECT (0xa0)`.
  static func name(of code: CK_RV) -> String {
    let number = "0x\(String(code, radix: 16))"
    return names[code].map { "CKR_\($0) (\(number))" } ?? number
  }

  private static let names: [CK_RV: String] = [
    CKR_HOST_MEMORY: "HOST_MEMORY", CKR_SLOT_ID_INVALID: "SLOT_ID_INVALID", CKR_GENERAL_ERROR: "GENERAL_ERROR",
    CKR_FUNCTION_FAILED: "FUNCTION_FAILED", CKR_ARGUMENTS_BAD: "ARGUMENTS_BAD",
    CKR_ATTRIBUTE_READ_ONLY: "ATTRIBUTE_READ_ONLY", CKR_ATTRIBUTE_SENSITIVE: "ATTRIBUTE_SENSITIVE",
    CKR_ATTRIBUTE_TYPE_INVALID: "ATTRIBUTE_TYPE_INVALID", CKR_ATTRIBUTE_VALUE_INVALID: "ATTRIBUTE_VALUE_INVALID",
    CKR_DATA_INVALID: "DATA_INVALID", CKR_DATA_LEN_RANGE: "DATA_LEN_RANGE", CKR_DEVICE_ERROR: "DEVICE_ERROR",
    CKR_DEVICE_MEMORY: "DEVICE_MEMORY", CKR_DEVICE_REMOVED: "DEVICE_REMOVED",
    CKR_ENCRYPTED_DATA_INVALID: "ENCRYPTED_DATA_INVALID", CKR_ENCRYPTED_DATA_LEN_RANGE: "ENCRYPTED_DATA_LEN_RANGE",
    CKR_FUNCTION_NOT_SUPPORTED: "FUNCTION_NOT_SUPPORTED", CKR_KEY_HANDLE_INVALID: "KEY_HANDLE_INVALID",
    CKR_KEY_SIZE_RANGE: "KEY_SIZE_RANGE", CKR_KEY_TYPE_INCONSISTENT: "KEY_TYPE_INCONSISTENT",
    CKR_KEY_FUNCTION_NOT_PERMITTED: "KEY_FUNCTION_NOT_PERMITTED", CKR_MECHANISM_INVALID: "MECHANISM_INVALID",
    CKR_MECHANISM_PARAM_INVALID: "MECHANISM_PARAM_INVALID", CKR_OBJECT_HANDLE_INVALID: "OBJECT_HANDLE_INVALID",
    CKR_OPERATION_ACTIVE: "OPERATION_ACTIVE", CKR_PIN_INCORRECT: "PIN_INCORRECT", CKR_PIN_INVALID: "PIN_INVALID",
    CKR_PIN_LEN_RANGE: "PIN_LEN_RANGE", CKR_PIN_EXPIRED: "PIN_EXPIRED", CKR_PIN_LOCKED: "PIN_LOCKED",
    CKR_SESSION_CLOSED: "SESSION_CLOSED", CKR_SESSION_COUNT: "SESSION_COUNT",
    CKR_SESSION_HANDLE_INVALID: "SESSION_HANDLE_INVALID", CKR_SESSION_READ_ONLY: "SESSION_READ_ONLY",
    CKR_TEMPLATE_INCOMPLETE: "TEMPLATE_INCOMPLETE", CKR_TEMPLATE_INCONSISTENT: "TEMPLATE_INCONSISTENT",
    CKR_TOKEN_NOT_PRESENT: "TOKEN_NOT_PRESENT", CKR_TOKEN_NOT_RECOGNIZED: "TOKEN_NOT_RECOGNIZED",
    CKR_TOKEN_WRITE_PROTECTED: "TOKEN_WRITE_PROTECTED",
    CKR_UNWRAPPING_KEY_HANDLE_INVALID: "UNWRAPPING_KEY_HANDLE_INVALID",
    CKR_USER_ALREADY_LOGGED_IN: "USER_ALREADY_LOGGED_IN", CKR_USER_NOT_LOGGED_IN: "USER_NOT_LOGGED_IN",
    CKR_USER_PIN_NOT_INITIALIZED: "USER_PIN_NOT_INITIALIZED",
    CKR_USER_ANOTHER_ALREADY_LOGGED_IN: "USER_ANOTHER_ALREADY_LOGGED_IN",
    CKR_WRAPPED_KEY_INVALID: "WRAPPED_KEY_INVALID", CKR_WRAPPED_KEY_LEN_RANGE: "WRAPPED_KEY_LEN_RANGE",
    CKR_WRAPPING_KEY_HANDLE_INVALID: "WRAPPING_KEY_HANDLE_INVALID", CKR_CURVE_NOT_SUPPORTED: "CURVE_NOT_SUPPORTED",
    CKR_BUFFER_TOO_SMALL: "BUFFER_TOO_SMALL", CKR_OPERATION_NOT_INITIALIZED: "OPERATION_NOT_INITIALIZED",
    CKR_CRYPTOKI_NOT_INITIALIZED: "CRYPTOKI_NOT_INITIALIZED",
    CKR_CRYPTOKI_ALREADY_INITIALIZED: "CRYPTOKI_ALREADY_INITIALIZED",
  ]
}

/// Runs work of the host (hashing, OAEP decoding) between calls of a module.
func onHost<Result: ~Copyable>(
  _ work: () throws(KeyCustodyError) -> Result
) throws(PKCS11Failure) -> Result {
  do { return try work() } catch { throw .custody(error) }
}
