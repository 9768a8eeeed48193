import KeyCustody
import KeyCustodyPKCS11
import KeyCustodyTestSupport
import Logging

/// A token as a configuration names it.
struct Target: Sendable {
  /// The module's path.
  var module: String
  /// The token's URI.
  var uri: String
  /// The file with the user PIN.
  var pinFile: String
  /// How many seconds a call may take.
  var timeout = 10
  /// How many sessions work at once.
  var sessions = 2
  /// Whether the provider's log is shown.
  var isVerbose = false

  /// A token of SoftHSM, by a module that leads to it.
  init(_ token: SoftHSMToken, module: String) {
    self.module = module
    uri = token.uri
    pinFile = token.pinFile
  }

  init(module: String, uri: String, pinFile: String) {
    self.module = module
    self.uri = uri
    self.pinFile = pinFile
  }

  /// Opens a key provider as a host does.
  func open() async throws -> any KeyProvider {
    let section = KeyCustodyConfiguration([
      "hsm": [
        "plugin": "pkcs11", "module": .string(module), "token": .string(uri), "pinFile": .string(pinFile),
        "timeout": .integer(timeout), "sessions": .integer(sessions), "emulate": ["RSA-OAEP-256"],
      ]
    ]).root.section("hsm")
    var environment = RuntimeEnvironment()
    environment.logger = Logger(label: "faults") { label in
      guard isVerbose else { return SwiftLogNoOpLogHandler() }
      return StreamLogHandler.standardError(label: label)
    }
    return try await [PKCS11Plugin.plugin].openKeyProvider(section, environment)
  }
}

extension FaultModule.Report {
  /// What a caller must never do, as one line; empty when it did nothing of it.
  var misuse: String {
    let counts = [
      ("concurrent_session_use", concurrentSessionUse), ("leaked_at_finalize", leakedAtFinalize),
      ("used_after_fork", usedAfterFork),
      ("finalize_while_inside", finalizeWhileInside), ("unknown_session_handle", unknownSessionHandle),
    ]
    return counts.filter { $0.1 != 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
  }

  /// All injections.
  var injections: Int { injected.values.reduce(0, +) }
}

extension SecretBytes {
  /// The bytes, of a secret that was made for a test.
  var plain: [UInt8] { withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } } }
}

extension KeyProvider {
  private var use: CallContext { CallContext(purpose: .vault) }

  func wrap(_ secret: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm) async throws -> [UInt8] {
    try await wrap(
      SecretBytes(copying: secret), with: WrapRequest(version: version, algorithm: algorithm, context: use)
    ).bytes
  }

  func unwrap(_ wrapped: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm) async throws -> [UInt8] {
    try await unwrap(wrapped, with: WrapRequest(version: version, algorithm: algorithm, context: use)).plain
  }

  func sign(_ digest: [UInt8], _ version: KeyVersionID, _ algorithm: SignatureAlgorithm) async throws -> [UInt8] {
    try await sign(digest, with: SignRequest(version: version, algorithm: algorithm, context: use))
  }

  func describe(_ version: KeyVersionID) async throws -> KeyDescription { try await describe(version, context: use) }

  func destroy(_ version: KeyVersionID) async throws { try await destroy(version, context: use) }

  /// The description of a key version; `nil` when its absence is confirmed.
  func find(_ version: KeyVersionID) async throws -> KeyDescription? {
    do { return try await describe(version) } catch let error as KeyCustodyError {
      guard error.code == .notFound else { throw error }
      return nil
    }
  }

  /// All names, from the token itself.
  func names() async throws -> Set<KeyVersionID> {
    guard let inventory else { throw Stop("The provider has no inventory.") }
    return Set(try await inventory.versions(after: nil, limit: 1000))
  }
}
