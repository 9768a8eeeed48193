import KeyCustody

/// Customers' keys that are in no vault of this deployment, and what the configuration says of their place.
///
/// | key of `customerKeys.NAME` | meaning | default |
/// | --- | --- | --- |
/// | `plugin` | the plugin of a source; its own keys stand beside | |
/// | `keyProvider` | instead of a plugin: a key provider of the configuration, whose keys are used directly | |
/// | `tenant` | only resources of this tenant may use keys there | required, unless the source tells tenants apart |
/// | `region` | where those keys are | unknown |
/// | `permissionModel` | how permissions are given there, `access-policies` or `roles` | unknown |
struct CustomerKeys: Sendable {
  /// How permissions on keys are given.
  enum PermissionModel: String, Sendable, CaseIterable {
    case accessPolicies = "access-policies"
    case roles
  }

  let source: any CustomerKeySource
  /// The key provider whose keys are used directly, where it is one: no vault may be on it, or its rules would not count.
  let provider: String?
  let tenant: TenantID?
  let region: Region?
  let permissionModel: PermissionModel?

  /// Reads a section, and opens the source that it describes.
  init(
    _ name: String, _ section: ConfigurationSection, _ providers: [String: any KeyProvider], plugins: [Plugin],
    environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) {
    tenant = if let text = try section.string("tenant") { try TenantID(text) } else { nil }
    region = if let text = try section.string("region") { try Region(text) } else { nil }
    permissionModel = try Self.permissionModel(section)
    provider = try section.string("keyProvider")
    if let provider {
      guard let found = providers[provider] else {
        throw Self.bad(
          section, "names the key provider '\(provider)', which the configuration lacks",
          "Name one of: \(providers.keys.sorted().joined(separator: ", ")).")
      }
      try section.refuseUnknownKeys()
      source = try ProviderKeySource(name, found)
    } else {
      source = try await plugins.openCustomerKeySource(section, environment)
    }
    guard tenant != nil || source.separatesTenants else {
      await source.close()
      throw Self.bad(
        section, "does not say for which tenant it is, and any tenant's resources could use its keys",
        "Set 'tenant', in a section for each.")
    }
  }

  private static func permissionModel(
    _ section: ConfigurationSection
  ) throws(KeyCustodyError) -> PermissionModel? {
    guard let text = try section.string("permissionModel") else { return nil }
    guard let model = PermissionModel(rawValue: text) else {
      throw bad(
        section, "has a 'permissionModel' that is not known",
        "Use one of: \(PermissionModel.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    return model
  }

  private static func bad(_ section: ConfigurationSection, _ what: String, _ remedy: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue, "'\(section.path.joined(separator: "."))' \(what).", remedy: remedy)
  }
}
