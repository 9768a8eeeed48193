public import KeyCustody
public import KeyCustodyEnvelope

/// One root key of a resource, and how much stored data is under it.
public struct RootKeyUse: Sendable, Hashable, Codable {
  /// Its name, as it stands in headers.
  public var id: RootKeyID
  /// Its layer.
  public var layer: Layer
  /// Which data it is for.
  public var group: RootKeyGroup
  /// Counts the root keys of the resource.
  public var epoch: Int
  /// The version of the KEK that wraps it.
  public var kek: KeyURI
  /// Whether new data is sealed under it.
  public var isPrimary: Bool
  /// When it was made.
  public var created: Timestamp
  /// How many stored values have it in their outer layer; `nil` for a key of the service layer, which no one sees without
  /// opening the outer one.
  public var items: Int?
  /// The size of those values' sealed forms, in bytes.
  public var bytes: Int64?
}

extension ProtectedResource {
  private static var listingSize: Int { 100 }
  /// A record of so many leaves room in any policy store for what enabling and disabling add.
  private static var mostRootKeys: Int { 64 }

  /// The resource's root keys, each with the stored data under it, by the headers of all that is in `stores` (SEMANTICS
  /// E16): a key of the customer layer that is not primary and counts 0 is used by nothing there.
  ///
  /// A conversion forgets such keys by itself when it ends; what is in no store is not counted.
  ///
  /// - Throws: what the stores throw; `notFound` (`resource-unknown`).
  public func rootKeyUse(in stores: [any SealedStore]) async throws(KeyCustodyError) -> [RootKeyUse] {
    var counts: [RootKeyID: (items: Int, bytes: Int64)] = [:]
    for store in stores {
      var last: String?
      while true {
        let page = try await store.items(of: id, after: last, limit: Self.listingSize)
        for item in page {
          let (items, bytes) = counts[item.header.rootKey] ?? (0, 0)
          counts[item.header.rootKey] = (items + 1, bytes + item.size)
        }
        guard let end = page.last else { break }
        last = end.object
      }
    }
    return try await custody.record(id).rootKeys.map { key in
      let count = key.layer == .customer ? counts[key.id] ?? (0, 0) : nil
      return RootKeyUse(
        id: key.id, layer: key.layer, group: key.group, epoch: key.epoch, kek: key.kek, isPrimary: key.isPrimary,
        created: key.created, items: count?.items, bytes: count?.bytes)
    }
  }

  /// Makes a new root key of one layer for new data, under the KEK that the layer has now, and retires the one before.
  ///
  /// Stored data stays under the retired key, which is kept for opening it. In the customer layer,
  /// ``resumeConversion(of:)`` puts long-term data under the new one and then forgets the retired one, and
  /// ``destroyRootKey(_:unusedIn:)`` removes one that nothing is under. A retired key of the service layer stays with
  /// the data: going over to a new one would take opening both layers.
  ///
  /// A value that was sealed before, and is stored later in a step of its own, is still under the retired key.
  ///
  /// - Throws: `invalidInput` (`wrong-resource-state`) during a conversion, (`data-class-unknown`) where the profile has
  ///   no data of that group, or (`wrong-size`) where there are 64 already; what making and wrapping it throws.
  @discardableResult
  public func addRootKey(
    _ layer: Layer = .customer, for group: RootKeyGroup = .longTerm
  ) async throws(KeyCustodyError) -> RootKeyID {
    let record = try await custody.record(id)
    guard !record.mode.isConverting else { throw wrongState(record.mode, "A root key of '\(id)'", "added") }
    guard record.rootKeys.count < Self.mostRootKeys else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The resource '\(id)' has \(record.rootKeys.count) root keys, and may have no more.",
        remedy: "Put stored data under the newest ('keycustody resource resume \(id)'), which forgets the others.")
    }
    guard let old = record.primary(layer, group) else {
      throw KeyCustodyError(
        .invalidInput, .dataClassUnknown, "The profile '\(record.profile.name)' has no data of the group '\(group)'.",
        remedy: "Name a group that the profile's data classes are in.")
    }
    let new = try await custody.newRootKey(
      id, layer: layer, group: group, epoch: record.nextEpoch,
      kek: old.isCustomerManaged ? old.kek : old.kek.with(version: nil),
      holder: old.holder, isCustomerManaged: old.isCustomerManaged)
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.mode == record.mode, current.rootKeys == record.rootKeys else { throw Self.changedMeanwhile(id) }
      current.setPrimary(new)
    }
    return new.id
  }

  /// Removes a retired root key of the customer layer for good, once `stores` hold nothing under it.
  ///
  /// - Parameter stores: where the resource's sealed data is kept, all of it: what is in none of them, and under this
  ///   key, can't be opened any more.
  /// - Throws: `invalidInput` (`root-key-in-use`) for a key that new or stored data uses, and for any of the service
  ///   layer, whose use nobody sees, (`wrong-resource-state`) during a conversion; `integrityFailure`
  ///   (`unknown-root-key`) when there is no such key.
  public func destroyRootKey(
    _ key: RootKeyID, unusedIn stores: [any SealedStore]
  ) async throws(KeyCustodyError) {
    let record = try await custody.record(id)
    let seen = custody.environment.time.running()
    guard !record.mode.isConverting else { throw wrongState(record.mode, "A root key of '\(id)'", "destroyed") }
    guard let found = record.rootKeys.first(where: { $0.id == key }) else { throw KeyCustody.unknownRootKey(id) }
    guard !found.isPrimary else { throw Self.inUse(key, id, "new data is sealed under it") }
    guard found.layer == .customer else {
      throw Self.inUse(key, id, "it is of the service layer, and its use shows only inside of sealed data")
    }
    // What began before it was retired is waited for; whoever still holds a sealer of it seals no more with it.
    try await custody.sealings.settle(key)
    custody.leases.end([key])
    _ = try await custody.waitForLeasesElsewhere(since: seen)
    let items = try await rootKeyUse(in: stores).first { $0.id == key }?.items ?? 0
    guard items == 0 else { throw Self.inUse(key, id, "\(items) stored values are sealed under it") }
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.mode == record.mode, current.keyset == record.keyset else { throw Self.changedMeanwhile(id) }
      current.rootKeys.removeAll { $0.id == key }
    }
    custody.leases.end([key])
  }

  /// Wraps the root keys that the service's own KEKs protect anew, under the newest versions of these; no data is
  /// touched (SEMANTICS E12).
  ///
  /// Afterwards no envelope of this resource needs an older version of a service KEK.
  ///
  /// - Returns: how many were under an older version.
  /// - Throws: `busy` (`conflict`) when the keyset was changed meanwhile; what unwrapping and wrapping throw.
  @discardableResult
  public func rewrapServiceKeys() async throws(KeyCustodyError) -> Int {
    // The record first: what it shows of a KEK is never newer than what is found then to be the newest.
    let record = try await custody.record(id)
    let old = record.underOlderKEKs(try await custody.newestServiceKeys())
    try await rewrap(old, of: record, holder: custody.servicePrincipal) { _ in }
    return old.reduce(0) { $0 + $1.keys.count }
  }

  /// Wraps root keys anew, each under another KEK of the same owner; they stay what they are.
  func rewrap(
    _ old: [KeysToRewrap], of record: ResourceRecord, holder: PrincipalID,
    _ body: (inout ResourceRecord) -> Void
  ) async throws(KeyCustodyError) {
    guard !old.isEmpty else { return }
    let rewrapped = try await rewrapped(old, holder: holder, keks: KEKs(custody))
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.rootKeys == record.rootKeys else { throw Self.changedMeanwhile(id) }
      current.replace(rewrapped)
      body(&current)
    }
    custody.leases.end(rewrapped.map(\.id))
  }

  /// Does what ``rewrapServiceKeys()`` does, to a record that was read a moment ago.
  ///
  /// - Returns: `nil` when it was changed meanwhile.
  func rewrapServiceKeys(
    of found: RecordView<ResourceRecord>.Revised, under newest: [Layer: KeyURI], keks: KEKs
  ) async throws(KeyCustodyError) -> Int? {
    let rewrapped = try await rewrapped(
      found.value.underOlderKEKs(newest), holder: custody.servicePrincipal, keks: keks)
    var record = found.value
    record.replace(rewrapped)
    guard try await custody.replace(found, with: record) else { return nil }
    custody.leases.end(rewrapped.map(\.id))
    return rewrapped.count
  }

  /// The root keys under their new KEKs.
  private func rewrapped(
    _ old: [KeysToRewrap], holder: PrincipalID, keks: KEKs
  ) async throws(KeyCustodyError) -> [RootKeyRecord] {
    var rewrapped: [RootKeyRecord] = []
    for alike in old {
      let from = try await keks.unwrapping(
        alike.keys[0], context: custody.context(of: id, holder: alike.keys[0].holder))
      let material = try await custody.material(of: alike.keys, id, under: from)
      let to = try await keks.wrapping(
        alike.kek, holder: holder, isCustomerManaged: alike.keys[0].isCustomerManaged,
        context: custody.context(of: id, holder: holder))
      var renewed: [NewRootKey] = []
      for index in alike.keys.indices { renewed.append(NewRootKey(material[index], of: alike.keys[index])) }
      var new = try await custody.wrap(renewed, of: id, under: to)
      for index in new.indices {
        (new[index].isPrimary, new[index].created) = (alike.keys[index].isPrimary, alike.keys[index].created)
      }
      rewrapped += new
    }
    return rewrapped
  }

  private static func inUse(_ key: RootKeyID, _ resource: ResourceID, _ reason: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .rootKeyInUse, "The root key '\(key)' of '\(resource)' can't be destroyed: \(reason).",
      remedy: "'keycustody resource keys \(resource)' counts what is under each; 'keycustody resource resume "
        + "\(resource)' puts stored data under the newest.")
  }
}

extension KeyCustodyError.Reason {
  /// A root key that data needs.
  public static let rootKeyInUse = Self("root-key-in-use")
}

/// Root keys that go from one KEK to another together.
struct KeysToRewrap {
  /// At least one; all are under one KEK, and held by one principal.
  fileprivate(set) var keys: [RootKeyRecord]
  /// The new KEK.
  let kek: KeyURI
}

extension [KeysToRewrap] {
  /// Adds a key to those that are like it.
  mutating func add(_ key: RootKeyRecord, to kek: KeyURI) {
    let alike = firstIndex { other in
      other.kek == kek && other.keys[0].kek == key.kek && other.keys[0].holder == key.holder
        && other.keys[0].isCustomerManaged == key.isCustomerManaged
    }
    if let alike { self[alike].keys.append(key) } else { append(KeysToRewrap(keys: [key], kek: kek)) }
  }
}

extension ResourceRecord {
  /// Whether a root key is under a version of the service's KEKs which is not the newest.
  func isUnderOlderKEKs(_ newest: [Layer: KeyURI]) -> Bool {
    rootKeys.indices.contains { newerKEK(of: $0, newest) != nil }
  }

  /// The root keys that are under a version of the service's KEKs which is not the newest.
  func underOlderKEKs(_ newest: [Layer: KeyURI]) -> [KeysToRewrap] {
    var older: [KeysToRewrap] = []
    for index in rootKeys.indices {
      if let kek = newerKEK(of: index, newest) { older.add(rootKeys[index], to: kek) }
    }
    return older
  }

  private func newerKEK(of index: Int, _ newest: [Layer: KeyURI]) -> KeyURI? {
    guard !rootKeys[index].isCustomerManaged, let kek = newest[rootKeys[index].layer], rootKeys[index].kek != kek else {
      return nil
    }
    return kek
  }

  fileprivate mutating func replace(_ rewrapped: [RootKeyRecord]) {
    for index in rootKeys.indices {
      if let new = rewrapped.firstIndex(where: { $0.id == rootKeys[index].id }) { rootKeys[index] = rewrapped[new] }
    }
  }
}
