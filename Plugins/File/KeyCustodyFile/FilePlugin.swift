public import KeyCustody

/// Backends in folders of the file system.
///
/// ## Key provider
/// `directory`; either `keyFile` (a file of at least 32 random bytes) or `passphraseFile` or `passphraseEnvironment`;
/// `create` (default true): make the store when the folder is empty or absent.
///
/// ## Policy store
/// `directory`; `create` (default true).
///
/// Folders have mode 700 and files 600; one that others may read or change is refused.
public enum FilePlugin {
  /// The plugin `file`.
  public static let plugin = Plugin(name: "file", keyProvider: openKeyProvider, policyStore: openPolicyStore)

  private static func openKeyProvider(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any KeyProvider> {
    let directory = environment.path(try section.requiredString("directory"))
    let create = try section.boolean("create") ?? true
    let keyFile = try section.string("keyFile")
    let passphrase = try SecretReference("passphrase", in: section, environment: environment)
    let place = section.path.joined(separator: ".")
    let secret: FileKeyProvider.Secret
    switch (keyFile, passphrase) {
    case (let path?, nil): secret = .keyFile(environment.path(path))
    case (nil, let reference?): secret = .passphrase(reference)
    case (nil, nil), (.some, .some):
      throw KeyCustodyError(
        .invalidInput, keyFile == nil ? .missingConfigurationKey : .badConfigurationValue,
        "'\(place)' must say what unlocks the key store, and only once.",
        remedy: "Give exactly one of 'keyFile', 'passphraseFile' and 'passphraseEnvironment'.")
    }
    return { () throws(KeyCustodyError) in
      do throws(KeyCustodyError) {
        return try await FileKeyProvider(
          directory: directory, secret: secret, create: create, environment: environment)
      } catch {
        guard error.reason == .keyFileMissing else { throw error }
        throw KeyCustodyError(
          error.code, error.reason, "'\(place).keyFile' names a file that is not there. \(error.message)",
          remedy: error.remedy, diagnostic: error.diagnostic)
      }
    }
  }

  private static func openPolicyStore(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any PolicyStore> {
    let directory = environment.path(try section.requiredString("directory"))
    let create = try section.boolean("create") ?? true
    return { () throws(KeyCustodyError) in
      try await FilePolicyStore(directory: directory, create: create, environment: environment)
    }
  }
}
