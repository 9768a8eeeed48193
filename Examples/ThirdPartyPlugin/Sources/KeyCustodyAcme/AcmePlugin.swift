public import KeyCustody

/// The plugin `acme`: keys in one encrypted file, by swift-crypto.
///
/// Configuration keys:
/// - `file`: where the keys are; made when it is not there.
/// - `secretFile` or `secretEnvironment`: the text that unlocks it, at least 32 characters that nobody can guess
///   (`openssl rand -hex 32`).
public enum AcmePlugin {
  /// The plugin, for the host's list.
  public static let plugin = Plugin(
    name: "acme",
    keyProvider: { (section, environment) throws(KeyCustodyError) in
      let file = environment.path(try section.requiredString("file"))
      guard let secret = try SecretReference("secret", in: section, environment: environment) else {
        throw KeyCustodyError(
          .invalidInput, .missingConfigurationKey,
          "The configuration of '\(section.path.joined(separator: "."))' says nowhere what unlocks the keys.",
          remedy: "Set 'secretFile' to a file that only the service can read, or 'secretEnvironment' to a variable.")
      }
      return { () async throws(KeyCustodyError) in
        try await AcmeKeyProvider(file: file, secret: secret, environment: environment)
      }
    })
}
