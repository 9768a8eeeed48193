public import KeyCustody
public import KeyCustodyEnvelope

/// What makes two services differ in the rules of customer-managed keys: data, never code (SEMANTICS E4, E5, E7, E9, E13).
public struct Profile: Sendable, Hashable {
  /// How a newer key version, or another key, takes over.
  public enum Rotation: String, Sendable, Codable {
    /// The keyset is wrapped anew; data stays as it is.
    case rewrap
    /// A new root key is made and the stored data converted to it.
    case reencrypt
  }

  /// Which version of the customer's key is used.
  public enum VersionChoice: String, Sendable, Codable {
    /// The one that was given, or was the newest when the key was bound, until the customer updates it.
    case kept
    /// The newest, taken over by the service's jobs, unless a version was given.
    case newest
  }

  /// Who is granted access to the customer's key.
  public enum Grantee: String, Sendable, Codable {
    /// The service's own principal in the customer's tenant, which exists once the service is registered there.
    case registeredService
    /// The resource's managed identity, which the service switches on and grants when the key is bound.
    case identityGrantedForCustomer
    /// The resource's managed identity, which the customer switches on and grants first.
    case identityGrantedByCustomer
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

  /// Something that the service does for its customer.
  public struct OperationRule: Sendable, Hashable, Codable {
    /// Its name, in words of the service.
    public var name: String
    /// Whether it stops while the customer's key is withdrawn, even where it needs no data under that key.
    public var stopsWithKey: Bool
    /// An operation.
    public init(_ name: String, stopsWithKey: Bool) {
      self.name = name
      self.stopsWithKey = stopsWithKey
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
  /// Whether the vault's permission model must be access policies.
  public var requiresAccessPolicies = false
  /// Who is granted access to the customer's key.
  public var grantee = Grantee.identityGrantedByCustomer
  /// Which version of the customer's key is used.
  public var versionChoice = VersionChoice.kept
  /// How a newer version takes over.
  public var rotation: Rotation
  /// What the service does for its customer, as far as a withdrawn key matters to it.
  public var operations: [OperationRule] = []
  /// What is kept longer than so many hours is long-term data; `nil` where the class alone decides.
  public var longTermAfterHours: Int?
  /// How long a root key of transient data is used for new data, in hours.
  public var transientEpochHours = 12
  /// How long transient data is kept at most, in hours; a root key is destroyed so long after its epoch.
  public var transientLifetimeHours = 12
  /// How long customers are advised to keep an older key version after a conversion, in days.
  public var advisedDaysOfOldKey = 0

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

  /// The root-key group of a data class.
  ///
  /// - Throws: `invalidInput` (`data-class-unknown`), naming the classes there are.
  public func group(of dataClass: DataClass) throws(KeyCustodyError) -> RootKeyGroup {
    if let rule = dataClasses.first(where: { $0.name == dataClass }) { return rule.group }
    throw KeyCustodyError(
      .invalidInput, .dataClassUnknown, "The profile '\(name)' has no data class '\(dataClass)'.",
      remedy: "Use one of: \(dataClasses.map(\.name.spelling).joined(separator: ", ")).")
  }

  /// The rule for an operation.
  ///
  /// - Throws: `invalidInput` (`operation-unknown`), naming the operations there are.
  public func rule(for operation: String) throws(KeyCustodyError) -> OperationRule {
    if let rule = operations.first(where: { $0.name == operation }) { return rule }
    let known = operations.isEmpty ? "It has none." : "Use one of: \(operations.map(\.name).joined(separator: ", "))."
    throw KeyCustodyError(
      .invalidInput, .operationUnknown, "The profile '\(name)' has no operation '\(operation)'.", remedy: known)
  }
}

extension Profile: Codable {
  private enum CodingKeys: String, CodingKey {
    case name, dataClasses, keyTypes, requiresSameRegion, requiresAccessPolicies, grantee, versionChoice, rotation
    case operations, longTermAfterHours, transientEpochHours, transientLifetimeHours, advisedDaysOfOldKey
  }

  /// Reads a profile; what an older record does not say is as for a service of one's own.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      name: try values.decode(String.self, forKey: .name),
      dataClasses: try values.decode([DataClassRule].self, forKey: .dataClasses),
      keyTypes: try values.decodeIfPresent([KeyType].self, forKey: .keyTypes) ?? [],
      requiresSameRegion: try values.decodeIfPresent(Bool.self, forKey: .requiresSameRegion) ?? false,
      rotation: try values.decodeIfPresent(Rotation.self, forKey: .rotation) ?? .rewrap)
    requiresAccessPolicies = try values.decodeIfPresent(Bool.self, forKey: .requiresAccessPolicies) ?? false
    grantee = try values.decodeIfPresent(Grantee.self, forKey: .grantee) ?? grantee
    versionChoice = try values.decodeIfPresent(VersionChoice.self, forKey: .versionChoice) ?? versionChoice
    operations = try values.decodeIfPresent([OperationRule].self, forKey: .operations) ?? []
    longTermAfterHours = try values.decodeIfPresent(Int.self, forKey: .longTermAfterHours)
    transientEpochHours = try values.decodeIfPresent(Int.self, forKey: .transientEpochHours) ?? transientEpochHours
    transientLifetimeHours =
      try values.decodeIfPresent(Int.self, forKey: .transientLifetimeHours) ?? transientLifetimeHours
    advisedDaysOfOldKey = try values.decodeIfPresent(Int.self, forKey: .advisedDaysOfOldKey) ?? 0
  }
}

extension KeyCustodyError.Reason {
  /// A data class that the profile does not have.
  public static let dataClassUnknown = Self("data-class-unknown")
  /// An operation that the profile does not have.
  public static let operationUnknown = Self("operation-unknown")
  /// No such resource.
  public static let resourceUnknown = Self("resource-unknown")
  /// A change that does not fit the resource's present state.
  public static let wrongResourceState = Self("wrong-resource-state")
  /// The vault stands in another region.
  public static let otherRegion = Self("other-region")
  /// The vault's permissions are given in a way that the profile does not take, or nobody says in which.
  public static let otherPermissionModel = Self("other-permission-model")
  /// The vault lacks purge protection.
  public static let purgeProtectionRequired = Self("purge-protection-required")
  /// The resource has no identity that could be granted access.
  public static let identityRequired = Self("identity-required")
  /// The vault's rules don't grant the identity what it needs.
  public static let grantRequired = Self("grant-required")
  /// The service is not registered in the customer's tenant.
  public static let registrationRequired = Self("registration-required")
}
