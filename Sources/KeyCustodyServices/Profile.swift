public import KeyCustody
public import KeyCustodyEnvelope

/// What makes two services differ in the rules of customer-managed keys: data, never code (SEMANTICS E4, E7, E9, E13).
public struct Profile: Sendable, Hashable, Codable {
  /// How a newer key version, or another key, takes over.
  public enum Rotation: String, Sendable, Codable {
    /// The keyset is wrapped anew; data stays as it is.
    case rewrap
    /// A new root key is made and the stored data converted to it.
    case reencrypt
  }

  /// A class of data that a service keeps.
  public struct DataClassRule: Sendable, Hashable, Codable {
    /// Its name.
    public var name: DataClass
    /// Which root keys it is sealed under.
    ///
    /// Only `longTerm` ever comes under the customer's key.
    public var group: RootKeyGroup
    /// A class of data.
    public init(name: DataClass, group: RootKeyGroup) {
      self.name = name
      self.group = group
    }
  }

  /// The profile's name, as it stands in records.
  public var name: String
  /// The classes of data there are; others are refused.
  public var dataClasses: [DataClassRule]
  /// The key types a customer may bind; empty: any that proves itself.
  public var keyTypes: [KeyType]
  /// Whether the vault must stand in the resource's region.
  public var requiresSameRegion: Bool
  /// How a newer version takes over.
  public var rotation: Rotation

  /// A profile.
  public init(
    name: String, dataClasses: [DataClassRule], keyTypes: [KeyType] = [], requiresSameRegion: Bool = false,
    rotation: Rotation = .rewrap
  ) {
    self.name = name
    self.dataClasses = dataClasses
    self.keyTypes = keyTypes
    self.requiresSameRegion = requiresSameRegion
    self.rotation = rotation
  }

  /// For a service of one's own: three classes of data named after their groups, any KEK, rotation by re-wrapping.
  public static func custom() throws(KeyCustodyError) -> Profile {
    Profile(
      name: "custom",
      dataClasses: [
        DataClassRule(name: try DataClass("long-term"), group: .longTerm),
        DataClassRule(name: try DataClass("transient"), group: .transient),
        DataClassRule(name: try DataClass("serving-copy"), group: .servingCopy),
      ])
  }

  /// The root-key group of a data class.
  ///
  /// - Throws: `invalidInput` (`data-class-unknown`), naming the classes there are.
  public func group(of dataClass: DataClass) throws(KeyCustodyError) -> RootKeyGroup {
    if let rule = dataClasses.first(where: { $0.name == dataClass }) { return rule.group }
    throw KeyCustodyError(
      .invalidInput, .dataClassUnknown, "The profile '\(name)' has no data class '\(dataClass)'.",
      remedy: "Use one of: \(dataClasses.map(\.name.spelling).joined(separator: ", ")).")
  }
}

extension KeyCustodyError.Reason {
  /// A data class that the profile does not have.
  public static let dataClassUnknown = Self("data-class-unknown")
  /// No such resource.
  public static let resourceUnknown = Self("resource-unknown")
  /// A change that does not fit the resource's present state.
  public static let wrongResourceState = Self("wrong-resource-state")
  /// The vault belongs to another tenant.
  public static let otherTenant = Self("other-tenant")
  /// The vault stands in another region.
  public static let otherRegion = Self("other-region")
  /// The vault lacks purge protection.
  public static let purgeProtectionRequired = Self("purge-protection-required")
  /// The resource has no identity that could be granted access.
  public static let identityRequired = Self("identity-required")
  /// The vault's rules don't grant the identity what it needs.
  public static let grantRequired = Self("grant-required")
}
