/// How far a resource is on its way between service-managed and customer-managed keys.
///
/// | from | ``Change/enable`` | ``Change/update`` | ``Change/disable`` | ``Change/settle`` |
/// | --- | --- | --- | --- | --- |
/// | `serviceManaged` | `enabling` | | | `serviceManaged` |
/// | `enabling` | | | | `customerManaged` |
/// | `customerManaged` | | `updating` | `disabling` | `customerManaged` |
/// | `updating` | | | | `customerManaged` |
/// | `disabling` | | | | `serviceManaged` |
///
/// An empty place is a change that does not fit. Whether the data can be read is another matter
/// (``ResourceStatus/Health``): access can be withdrawn and granted again in every mode with a customer's key.
public enum EncryptionMode: String, Sendable, Hashable, Codable, CaseIterable {
  /// Both layers under the service's keys.
  case serviceManaged
  /// New data is under the customer's key; older data is being converted.
  case enabling
  /// All long-term data is under the customer's key.
  case customerManaged
  /// New data is under the newer key; older data is being converted.
  case updating
  /// New data is under the service's keys again; older data is being converted.
  case disabling

  /// What leads from one mode to another.
  public enum Change: String, Sendable, Hashable, CaseIterable {
    /// The customer's key is bound.
    case enable
    /// Another root key takes over, under a newer version of the customer's key or another one.
    case update
    /// The customer's key is given up.
    case disable
    /// Nothing stored is under older root keys any more.
    case settle
  }

  /// The mode after a change; `nil` where the change does not fit.
  public func after(_ change: Change) -> EncryptionMode? {
    switch (self, change) {
    case (.serviceManaged, .enable): .enabling
    case (.customerManaged, .update): .updating
    case (.customerManaged, .disable): .disabling
    case (.serviceManaged, .settle), (.disabling, .settle): .serviceManaged
    case (.enabling, .settle), (.customerManaged, .settle), (.updating, .settle): .customerManaged
    default: nil
    }
  }

  /// Whether stored data is on its way from one root key to another.
  public var isConverting: Bool { after(.settle) != self }
}
