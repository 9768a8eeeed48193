import KeyCustody

/// The keys of a key provider, used directly: no vault stands before them, and the provider's own rules are all there is.
///
/// A key's address is `https://NAME.key-provider/keys/key/VERSION`, where NAME is the section's and VERSION is what the
/// provider knows the key by. It always names the version: a provider has no newest.
final class ProviderKeySource: CustomerKeySource {
  /// What stands for a domain in the addresses; nobody can own it.
  static let domain = "key-provider"

  private let provider: any KeyProvider
  private let authority: String
  private let name: KeyName

  /// - Throws: `invalidInput` (`bad-name`) for a name that can't stand in an address.
  init(_ name: String, _ provider: any KeyProvider) throws(KeyCustodyError) {
    authority = "\(try VaultName(name).folded).\(Self.domain)"
    self.name = try KeyName("key")
    self.provider = provider
  }

  var identity: ProviderIdentity { provider.identity }
  /// Whoever may use the provider may use all of it.
  var separatesTenants: Bool { false }

  func covers(_ key: KeyURI) -> Bool { key.authority == authority }

  func describe(
    _ key: KeyURI, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> CustomerKey {
    let version = try version(of: key)
    let found: KeyDescription
    do throws(KeyCustodyError) { found = try await provider.describe(version, context: context) } catch {
      guard error.code == .notFound else { throw error }
      throw KeyCustodyError(
        .notFound, error.reason, "There is no key '\(key)'.",
        remedy: "Check the version; or its owner brings the key back from a backup.", diagnostic: error.debugDescription
      )
    }
    let algorithms = WrapAlgorithm.fitting(found.type).filter { provider.capabilities.offers(.unwrap($0)) }
    return CustomerKey(uri: key, type: found.type, wraps: found.role.wraps, algorithms: algorithms)
  }

  func wrap(
    _ secret: borrowing SecretBytes, with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID,
    context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let request = WrapRequest(version: try version(of: key), algorithm: algorithm, context: context)
    return try await provider.wrap(secret, with: request).bytes
  }

  func unwrap(
    _ wrapped: [UInt8], with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let request = WrapRequest(version: try version(of: key), algorithm: algorithm, context: context)
    return try await provider.unwrap(wrapped, with: request)
  }

  /// The provider is closed by whoever opened it.
  func close() async {}

  private func version(of key: KeyURI) throws(KeyCustodyError) -> KeyVersionID {
    guard let version = key.version, key.name == name else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "'\(key)' names no key of a key provider.",
        remedy: "Write https://\(authority)/keys/\(name)/VERSION, where VERSION is the provider's name of the key.")
    }
    return version
  }
}
