public import KeyCustody
import KeyCustodyCrypto

/// The cryptographic module that this process works with, for records and audits.
public struct CryptographicModule: Sendable, Hashable, Codable {
  /// Whether it is in FIPS mode: OpenSSL's FIPS provider alone, and only the algorithms on KeyCustody's list.
  public let isFIPS: Bool
  /// The provider's name, `OpenSSL FIPS Provider` for instance.
  public let name: String
  /// The provider's version.
  ///
  /// A certificate names this one, not ``library``.
  public let version: String
  /// What else the provider says of how it was built.
  public let build: String
  /// The OpenSSL library that loads it.
  public let library: String

  init(_ facts: CryptographicModuleFacts) {
    isFIPS = facts.mode == .fips
    name = facts.name
    version = facts.version
    build = facts.build
    library = OpenSSLLibrary.version
  }
}

extension CryptographicModule: CustomStringConvertible {
  /// `OpenSSL FIPS Provider 3.0.8 in FIPS mode, its self tests passed (…)`.
  public var description: String {
    let mode = isFIPS ? "in FIPS mode, its self tests passed" : "outside FIPS mode"
    return "\(name) \(version)\(build == version ? "" : " (\(build))"), \(mode), in \(library)"
  }
}

extension KeyCustody {
  /// The cryptographic module that this process works with.
  public static var cryptographicModule: CryptographicModule { CryptographicModule(OpenSSLLibrary.shared.module) }

  /// Settles this process's cryptography as a configuration has it (`fips`), before anything else uses it.
  ///
  /// ``open(_:plugins:audit:environment:)`` does it too; call it first where something is done with keys before that.
  /// A configuration that says nothing takes the mode in use.
  /// - Throws: `unsupported` (`no-fips-provider`) when FIPS mode is asked for and can't be had; `invalidInput`
  ///   (`cryptography-mode`) when this process works in the other mode already.
  @discardableResult
  public static func prepareCryptography(
    _ configuration: KeyCustodyConfiguration
  ) throws(KeyCustodyError) -> CryptographicModule {
    CryptographicModule(try CryptographyChoice.settle(configuration.root.cryptographyMode()))
  }
}

extension ConfigurationSection {
  /// What `fips` says; `nil` when it is absent.
  func cryptographyMode() throws(KeyCustodyError) -> CryptographyMode? {
    try boolean("fips").map { $0 ? .fips : .standard }
  }
}

extension RuntimeEnvironment {
  /// The environment for a mode: in FIPS mode all randomness is the module's own.
  ///
  /// - Throws: `invalidInput` (`cryptography-mode`) for a random source of the host's in FIPS mode.
  func fitting(_ mode: CryptographyMode) throws(KeyCustodyError) -> RuntimeEnvironment {
    guard mode == .fips, !(random is OpenSSLRandom) else { return self }
    guard random is SystemRandom else {
      throw KeyCustodyError(
        .invalidInput, .cryptographyMode,
        "In FIPS mode keys and nonces come from the module's own generator (SP 800-90A); this opening was handed another "
          + "random source.",
        remedy: "Whoever writes the service leaves 'random' out of the RuntimeEnvironment.")
    }
    var environment = self
    environment.random = OpenSSLRandom()
    return environment
  }
}
