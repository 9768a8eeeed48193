public import KeyCustody
import KeyCustodyEnvelope

/// Sealing and opening without `await`.
extension ProtectedResource {
  /// What seals small values of a data class by plain calls, under the root keys that new data is sealed with now.
  ///
  /// ```swift
  /// let sealer = try await notes.sealer()
  /// for note in batch { try store(sealer.seal(note.text, as: note.id)) }
  /// ```
  ///
  /// - Throws: what ``seal(_:as:dataClass:identifiers:)`` throws; `unsupported` (`no-lease`) in a deployment that asks
  ///   the provider for every operation (`leaseSeconds` 0).
  public func sealer(dataClass: String = defaultClass) async throws(KeyCustodyError) -> Sealer {
    try requireLeases()
    // The object's name is not used: every sealed value brings its own.
    let context = try context("-", dataClass, [:])
    let keys = try await primaries(context)
    let known = try await custody.outline(id)
    guard try known.profile.group(of: context.dataClass) == .transient else { return try keepSealer(keys, dataClass) }
    let ends = known.rootKeys.filter { [keys.service.id, keys.customer.id].contains($0.id) }.map { key in
      key.created + .seconds(3600 * known.profile.transientEpochHours)
    }
    return Sealer(recordSealer(keys, context.dataClass), time: custody.environment.time, until: ends.min())
  }

  private func recordSealer(_ keys: LayeredKeys, _ dataClass: DataClass) -> RecordSealer {
    RecordSealer(keys: keys, resource: id, dataClass: dataClass, random: custody.environment.random)
  }

  /// What opens small values of a data class by plain calls.
  ///
  /// It asks for every root key that values of the class may be under; older ones that can't be had now are left out.
  ///
  /// - Throws: what ``open(_:as:dataClass:identifiers:)`` throws for values under the root keys of new data;
  ///   `unsupported` (`no-lease`).
  public func opener(dataClass: String = defaultClass) async throws(KeyCustodyError) -> Opener {
    try requireLeases()
    let context = try context("-", dataClass, [:])
    _ = try await primaries(context)
    let known = try await custody.outline(id)
    let group = try known.profile.group(of: context.dataClass)
    for key in known.rootKeys where key.group == group && !key.isPrimary {
      _ = try? await custody.lease(key, of: id)
    }
    return try keepOpener(dataClass)
  }

  /// Makes a sealer, and remembers it while these are the keys of new data.
  @discardableResult
  func keepSealer(_ keys: LayeredKeys, _ dataClass: String) throws(KeyCustodyError) -> Sealer {
    let name = try DataClass(dataClass)
    let sealer = Sealer(recordSealer(keys, name), time: custody.environment.time)
    custody.cache.keep(sealer, id, dataClass) { known in
      guard let group = try? known.profile.group(of: name) else { return false }
      return known.primary(.service, group)?.id == keys.service.id
        && known.primary(.customer, group)?.id == keys.customer.id
    }
    return sealer
  }

  /// Makes an opener with all root keys of the class whose leases live, and remembers it.
  @discardableResult
  func keepOpener(_ dataClass: String) throws(KeyCustodyError) -> Opener {
    let name = try DataClass(dataClass)
    var keys: [(layer: Layer, key: RootKey)] = []
    if let known = custody.cache[id], let group = try? known.profile.group(of: name) {
      // The newest first: most values are under them.
      for outline in known.rootKeys.reversed() where outline.group == group {
        if let key = custody.leases.living(outline.id) { keys.append((outline.layer, key)) }
      }
    }
    let opener = Opener(
      RecordOpener(keys: keys, resource: id, dataClass: name), time: custody.environment.time)
    let ids = Set(keys.map(\.key.id))
    custody.cache.keep(opener, id, dataClass) { known in ids.isSubset(of: known.rootKeys.map(\.id)) }
    return opener
  }

  private func requireLeases() throws(KeyCustodyError) {
    guard custody.leases.duration > .zero else {
      throw KeyCustodyError(
        .unsupported, .noLease, "This deployment asks the key provider for every operation: nothing can be held.",
        remedy: "Use the resource itself; or give leases a duration: service.leaseSeconds.")
    }
  }
}

extension KeyCustodyError.Reason {
  /// Leases have no duration here.
  public static let noLease = Self("no-lease")
}
