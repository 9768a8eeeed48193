import KeyCustody
import KeyCustodyTestSupport

@testable import KeyCustodyPKCS11

/// Opening backends on tokens of SoftHSM.
enum Backends {
  /// A key provider on a token, opened through the plugin as a host opens it.
  static func keys(
    _ token: SoftHSMToken, emulates: Bool = true, sessions: Int = 2,
    environment: RuntimeEnvironment = RuntimeEnvironment(), changing: [String: ConfigurationValue] = [:]
  ) async throws -> PKCS11KeyProvider {
    var settings = token.settings.merging(changing) { _, new in new }
    settings["sessions"] = .integer(sessions)
    if emulates { settings["emulate"] = ["RSA-OAEP-256"] }
    let section = KeyCustodyConfiguration(["hsm": .section(settings)]).root.section("hsm")
    let provider = try await [PKCS11Plugin.plugin].openKeyProvider(section, environment)
    guard let provider = provider as? PKCS11KeyProvider else { throw WrongBackend() }
    return provider
  }

  /// Opens a key provider on a token of its own, closes it after `body`.
  static func withKeys(
    emulates: Bool = true, sessions: Int = 2, in copy: ModuleCopy? = nil,
    _ body: (PKCS11KeyProvider, SoftHSMToken) async throws -> Void
  ) async throws {
    let token = try await SoftHSM.makeToken()
    let provider = try await keys(
      token, emulates: emulates, sessions: sessions, changing: copy?.settings(token) ?? [:])
    do { try await body(provider, token) } catch {
      await provider.close()
      throw error
    }
    await provider.close()
  }

  /// A policy store on a token, with a lock file of its own beside the tokens.
  static func store(
    _ token: SoftHSMToken, lockFile: String? = nil, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws -> any PolicyStore {
    var settings = token.settings
    settings["lockFile"] = .string(lockFile ?? "\(token.pinFile).lock")
    let section = KeyCustodyConfiguration(["store": .section(settings)]).root.section("store")
    return try await [PKCS11Plugin.plugin].openPolicyStore(section, environment)
  }

  struct WrongBackend: Error {}

  /// A call without a deadline.
  static let context = CallContext(purpose: .administration)

  /// A fresh name.
  static func name() throws -> KeyVersionID { try KeyVersionID(random: SystemRandom()) }
}

extension PKCS11KeyProvider {
  /// Makes a key of a fresh name.
  func make(_ type: KeyType, _ role: KeyRole, label: String = "") async throws(KeyCustodyError) -> KeyDescription {
    let version = try KeyVersionID(random: SystemRandom())
    return try await generate(
      GenerateKeyRequest(version: version, type: type, role: role, label: label), context: Backends.context)
  }

  func wrap(_ secret: borrowing SecretBytes, _ key: KeyDescription, _ algorithm: WrapAlgorithm) async throws -> [UInt8]
  {
    try await wrap(
      secret, with: WrapRequest(version: key.version, algorithm: algorithm, context: Backends.context)
    ).bytes
  }

  func unwrap(
    _ wrapped: [UInt8], _ key: KeyDescription, _ algorithm: WrapAlgorithm
  ) async throws(KeyCustodyError) -> SecretBytes {
    try await unwrap(
      wrapped, with: WrapRequest(version: key.version, algorithm: algorithm, context: Backends.context))
  }

  func sign(
    _ digest: [UInt8], _ key: KeyDescription, _ algorithm: SignatureAlgorithm
  ) async throws(KeyCustodyError) -> [UInt8] {
    try await sign(
      digest, with: SignRequest(version: key.version, algorithm: algorithm, context: Backends.context))
  }
}
