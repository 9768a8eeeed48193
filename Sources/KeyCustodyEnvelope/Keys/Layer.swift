/// One of the two layers that everything sealed has.
public enum Layer: String, Sendable, Hashable, Codable, CaseIterable {
  /// The inner layer: its root keys are always wrapped by the service's KEK.
  case service
  /// The outer layer: its root keys are wrapped by the customer's KEK, or by the service's until CMK is on.
  case customer
}

/// What kind of data a root key is for.
public enum RootKeyGroup: String, Sendable, Hashable, Codable, CaseIterable {
  /// Data that is kept.
  case longTerm
  /// Data in flight, whose keys are destroyed after an epoch of at most 12 hours.
  case transient
  /// Copies that go on serving under the service's keys.
  case servingCopy
}
