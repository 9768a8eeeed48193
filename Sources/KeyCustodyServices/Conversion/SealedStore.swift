public import KeyCustody
public import KeyCustodyEnvelope

/// Where a service keeps what it sealed: what a conversion needs to find and renew it.
///
/// It never sees plaintext.
public protocol SealedStore: Sendable {
  /// Up to `limit` items of a resource after the one named, ordered by name; none when there are no more.
  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem]

  /// As ``items(of:after:limit:)``, where those under one root key may be left out: what is converted already need not
  /// be read again.
  ///
  /// Leaves nothing out unless a store does it better.
  func items(
    of resource: ResourceID, after object: String?, excluding rootKey: RootKeyID, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem]

  /// Replaces the item's sealed form by what `renewal` makes of it, unless the item was changed or removed meanwhile;
  /// either form, and never a mixture, is there after a crash.
  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError)
}

extension SealedStore {
  /// All items, those under that root key too.
  public func items(
    of resource: ResourceID, after object: String?, excluding rootKey: RootKeyID, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] { try await items(of: resource, after: object, limit: limit) }
}

/// An item of a ``SealedStore``, as far as it is kept in clear.
public struct SealedItem: Sendable, Hashable {
  /// Its name within the resource.
  public var object: String
  /// Its class.
  public var dataClass: DataClass
  /// Identifiers kept in clear beside it.
  public var identifiers: [String: String]
  /// The first 12 bytes of its sealed form.
  public var header: SealedHeader
  /// The size of its sealed form, in bytes.
  public var size: Int64

  /// An item as its store found it.
  public init(
    object: String, dataClass: DataClass, identifiers: [String: String] = [:], header: SealedHeader, size: Int64
  ) {
    self.object = object
    self.dataClass = dataClass
    self.identifiers = identifiers
    self.header = header
    self.size = size
  }
}

/// Renews the outer layer of one item: peels the old one and puts a new one around what is inside, which stays sealed.
public struct SealedRenewal: Sendable {
  let keys: ResourceKeys
  let newKey: RootKey
  let context: SealingContext
  let random: any RandomSource

  /// Renews a sealed value in memory.
  public func renew(_ sealed: [UInt8]) async throws(KeyCustodyError) -> [UInt8] {
    try await TwoLayers.renewOuterLayer(
      ofRecord: sealed, from: keys, to: newKey, context: context, random: random)
  }

  /// Renews a sealed object in its file: the old form or the new one is there, never a mixture.
  public func renewFile(_ path: String) async throws(KeyCustodyError) {
    try await TwoLayers.renewOuterLayer(ofFile: path, from: keys, to: newKey, context: context, random: random)
  }
}
