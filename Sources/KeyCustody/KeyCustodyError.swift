/// The one error type of KeyCustody: a code out of a closed taxonomy, what went wrong, and what to do about it.
///
/// `description` is safe to show to a stranger: it holds the message and the remedy, never key material, a PIN or
/// native diagnostics. Those stand in `debugDescription` only. Two errors are equal when code and reason are.
public struct KeyCustodyError: Error, Sendable {
  /// The closed taxonomy.
  ///
  /// Every provider, store and identity provider speaks these codes and no others.
  public enum Code: String, Sendable, CaseIterable, Codable {
    /// Confirmed absent. Never said of something that merely could not be reached.
    case notFound
    /// Present, but switched off, outside its validity, or soft-deleted.
    case disabled
    /// The caller may not do this.
    case denied
    /// The backend can't do this; said before the backend is touched.
    case unsupported
    /// The request itself is wrong: a bad name, size, type, configuration or state.
    case invalidInput
    /// Data or an envelope failed authentication: altered, truncated, swapped, or under another key.
    case integrityFailure
    /// The backend can't be reached or does not work now.
    case unavailable
    /// The backend has no room for another request now.
    case busy
    /// A PIN, passphrase or secret was refused. Never retried: PINs lock.
    case credentialRejected
    /// No answer in time. Whether the operation happened is unknown.
    case timeout
    /// A defect of ours or of the backend's.
    case fault
  }

  /// What a caller may do with a failed operation.
  public enum RetryClass: String, Sendable {
    /// The same request will fail again.
    case never
    /// Nothing happened; repeat after ``KeyCustodyError/retryAfter`` or a short pause.
    case later
    /// It may have happened. Look (describe, read) before repeating.
    case afterChecking
    /// Only after a person changed something. Repeating automatically does harm.
    case afterOperator
  }

  /// A finer cause within a code, an open set of lower-case words with dashes.
  public struct Reason: RawRepresentable, Hashable, Sendable {
    /// The words, as they appear in logs and JSON.
    public let rawValue: String
    /// Makes a reason of a backend's own.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Makes a reason of a backend's own.
    public init(_ rawValue: String) { self.rawValue = rawValue }
  }

  /// The class of failure.
  public let code: Code
  /// The finer cause.
  public let reason: Reason
  /// What happened and why, for a person; safe to show.
  public let message: String
  /// Who can change it, and the command or setting that would; empty where nothing would.
  public let remedy: String
  /// How long to wait before a retry, where the backend knows.
  public let retryAfter: Duration?
  /// Native details (a foreign function and its code); never a secret, shown only by `debugDescription`.
  public let diagnostic: String?

  /// Makes an error.
  public init(
    _ code: Code, _ reason: Reason, _ message: String, remedy: String = "", retryAfter: Duration? = nil,
    diagnostic: String? = nil
  ) {
    self.code = code
    self.reason = reason
    self.message = message
    self.remedy = remedy
    self.retryAfter = retryAfter
    self.diagnostic = diagnostic
  }

  /// What a caller may do, decided by the code alone.
  public var retryClass: RetryClass {
    switch code {
    case .unavailable, .busy: .later
    case .timeout: .afterChecking
    case .credentialRejected, .disabled, .denied: .afterOperator
    case .notFound, .unsupported, .invalidInput, .integrityFailure, .fault: .never
    }
  }
}

extension KeyCustodyError: Equatable {
  /// Equal by code and reason; messages and diagnostics don't count.
  public static func == (left: Self, right: Self) -> Bool { left.code == right.code && left.reason == right.reason }
}

extension KeyCustodyError: CustomStringConvertible, CustomDebugStringConvertible {
  /// Code, reason, message and remedy on one line.
  public var description: String {
    let head = "\(code.rawValue) (\(reason.rawValue)): \(message)"
    return remedy.isEmpty ? head : "\(head) \(remedy)"
  }
  /// The description and the native diagnostic.
  public var debugDescription: String { diagnostic.map { "\(description) [\($0)]" } ?? description }
}

extension KeyCustodyError.Reason: CustomStringConvertible {
  /// The words.
  public var description: String { rawValue }

  // Absent or in the way.
  /// No such key version in this provider.
  public static let keyVersionUnknown = Self("key-version-unknown")
  /// Something of that name exists already.
  public static let alreadyExists = Self("already-exists")
  /// The record was changed by somebody else in the meantime.
  public static let conflict = Self("conflict")
  // Access to keys.
  /// No rule allows it, or one forbids it.
  public static let accessDenied = Self("access-denied")
  /// The address from which the call came is not let in.
  public static let networkRefused = Self("network-refused")
  /// The vault belongs to another tenant.
  public static let otherTenant = Self("other-tenant")
  /// The version's allowed operations leave this one out.
  public static let keyOperationForbidden = Self("key-operation-forbidden")
  /// The key version is switched off.
  public static let keyDisabled = Self("key-disabled")
  // Configuration.
  /// A configuration key that nothing reads.
  public static let unknownConfigurationKey = Self("unknown-configuration-key")
  /// A required configuration key is missing.
  public static let missingConfigurationKey = Self("missing-configuration-key")
  /// A configuration value of the wrong type or range.
  public static let badConfigurationValue = Self("bad-configuration-value")
  /// The backend found is not the one that was recorded.
  public static let backendMismatch = Self("backend-mismatch")
  // Inputs.
  /// A name outside the allow-list.
  public static let badName = Self("bad-name")
  /// A key of a type or size that does not fit here.
  public static let wrongKeyType = Self("wrong-key-type")
  /// Input of a size that is not taken.
  public static let wrongSize = Self("wrong-size")
  /// Text or bytes that don't parse.
  public static let malformed = Self("malformed")
  /// An algorithm or key type the backend does not offer.
  public static let notOffered = Self("not-offered")
  // Sealed data.
  /// Shorter than it must be: the end is missing.
  public static let truncated = Self("truncated")
  /// Altered, or sealed with another context or for another object.
  public static let notAuthentic = Self("not-authentic")
  /// A format number this version does not know.
  public static let unknownFormat = Self("unknown-format")
  /// Sealed under a root key this resource does not have.
  public static let unknownRootKey = Self("unknown-root-key")
  /// A root key that is not the one recorded when it was made.
  public static let commitmentMismatch = Self("commitment-mismatch")
  // Backends.
  /// A device, folder, module or database that can't be reached.
  public static let unreachable = Self("unreachable")
  /// The provider or store was closed.
  public static let closed = Self("closed")
  /// A PIN, passphrase or secret that was refused.
  public static let wrongSecret = Self("wrong-secret")
  /// A damaged file or record of our own.
  public static let damaged = Self("damaged")
  /// Something is wrong inside.
  public static let internalFault = Self("internal-fault")
  /// The deadline of the call has passed.
  public static let deadline = Self("deadline")
}
