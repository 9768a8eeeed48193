import HTTPTypes
import KeyCustody
import KeyCustodyVault

/// An error as the Key Vault wire has it: a status, a code, a message, and sometimes an inner code.
struct WireError: Error {
  var status: HTTPResponse.Status
  var code: String
  var message: String
  var inner: String?
  /// Whole seconds after which a repeat makes sense.
  var retryAfter: Int?
  /// The value of `WWW-Authenticate`.
  var challenge: String?

  init(_ status: HTTPResponse.Status, _ code: String, _ message: String, inner: String? = nil) {
    self.status = status
    self.code = code
    self.message = message
    self.inner = inner
  }

  /// A request that is wrong in itself.
  static func badParameter(_ message: String) -> WireError { WireError(.badRequest, "BadParameter", message) }

  /// What the vault threw over something of its own, where nothing of the caller's can be wrong.
  init(stored error: KeyCustodyError) {
    self.init(error)
    guard error.code == .integrityFailure else { return }
    status = .internalServerError
    code = "InternalServerError"
  }

  /// What the vault, or something beneath it, threw.
  init(_ error: KeyCustodyError) {
    let message = error.remedy.isEmpty ? error.message : "\(error.message) \(error.remedy)"
    switch error.code {
    case .notFound: self = Self.absent(error, message)
    case .disabled: self = Self.disabled(error, message)
    case .denied: self = Self.denied(error, message)
    case .invalidInput: self = Self.invalid(error, message)
    case .unsupported: self.init(.badRequest, "NotSupported", message)
    case .integrityFailure:
      // A value of the caller's that does not open, or a record of ours that is damaged.
      self =
        error.reason == .damaged
        ? WireError(.internalServerError, "InternalServerError", message)
        : WireError(.badRequest, "BadParameter", message)
    case .unavailable, .credentialRejected:
      self.init(.serviceUnavailable, "ServiceUnavailable", message)
      retryAfter = Self.seconds(error.retryAfter) ?? 1
    case .busy:
      self.init(.tooManyRequests, "Throttled", message)
      retryAfter = Self.seconds(error.retryAfter) ?? 1
    case .timeout:
      self.init(.gatewayTimeout, "GatewayTimeout", message)
      retryAfter = Self.seconds(error.retryAfter) ?? 1
    case .fault: self.init(.internalServerError, "InternalServerError", message)
    }
  }

  private static func absent(_ error: KeyCustodyError, _ message: String) -> WireError {
    switch error.reason {
    case .secretUnknown: WireError(.notFound, "SecretNotFound", message)
    case .keyUnknown, .keyVersionUnknown: WireError(.notFound, "KeyNotFound", message)
    // The key is there: what is wrong is on this side.
    case .keyMaterialMissing: WireError(.internalServerError, "InternalServerError", message)
    default: WireError(.notFound, "NotFound", message)
    }
  }

  private static func disabled(_ error: KeyCustodyError, _ message: String) -> WireError {
    switch error.reason {
    case .keyDeleted: WireError(.notFound, "KeyNotFound", message)
    case .secretDeleted: WireError(.notFound, "SecretNotFound", message)
    case .keyDisabled: WireError(.forbidden, "Forbidden", message, inner: "KeyDisabled")
    case .secretDisabled: WireError(.forbidden, "Forbidden", message, inner: "SecretDisabled")
    default: WireError(.forbidden, "Forbidden", message)
    }
  }

  private static func denied(_ error: KeyCustodyError, _ message: String) -> WireError {
    switch error.reason {
    case .keyOperationForbidden: WireError(.forbidden, "Forbidden", message, inner: "KeyOperationForbidden")
    case .networkRefused: WireError(.forbidden, "Forbidden", message, inner: "ForbiddenByFirewall")
    case .purgeProtected:
      WireError(
        .forbidden, "Forbidden",
        "Operation \"purge\" is not allowed because purge protection is enabled for this vault. \(error.remedy)")
    default: WireError(.forbidden, "Forbidden", message, inner: "ForbiddenByPolicy")
    }
  }

  private static func invalid(_ error: KeyCustodyError, _ message: String) -> WireError {
    switch error.reason {
    case .deletedButRecoverable: WireError(.conflict, "Conflict", message, inner: "ObjectIsDeletedButRecoverable")
    case .alreadyExists, .vaultNotEmpty: WireError(.conflict, "Conflict", message)
    case .badName:
      WireError(.badRequest, "BadParameter", "The request URI contains an invalid name: \(error.message)")
    default: WireError(.badRequest, "BadParameter", message)
    }
  }

  private static func seconds(_ duration: Duration?) -> Int? {
    duration.map { Int($0.components.seconds) + ($0.components.attoseconds > 0 ? 1 : 0) }.map { max(1, $0) }
  }

  /// The answer that tells it.
  var response: WireResponse {
    var error: [(String, JSON)] = [("code", .string(code)), ("message", .string(message))]
    if let inner { error.append(("innererror", JSON(members: [("code", .string(inner))]))) }
    var response = WireResponse(status, JSON(members: [("error", JSON(members: error))]))
    if let retryAfter { response.headers[.retryAfter] = "\(retryAfter)" }
    if let challenge { response.headers[.wwwAuthenticate] = challenge }
    return response
  }
}
