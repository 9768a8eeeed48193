public import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault
import Synchronization

/// Who takes access away, here or in another process, and what is asked again then.
extension KeyCustody {
  /// Whoever changes access in this process tells here before the change is answered: leases concerned are checked again.
  func observeRevocations() {
    vaults.observers.add { [weak self] change in
      self?.recheck { kek, holder in
        switch change {
        case .policy(let vault, let principals): (try? kek.vault) == vault && principals.contains(holder)
        case .key(let vault, let name): (try? kek.vault) == vault && kek.name == name
        case .vault(let vault): (try? kek.vault) == vault
        }
      }
    }
    identities.observers.add { [weak self] event in
      let concerned =
        switch event {
        case .disabled(let id), .enabled(let id), .deleted(let id): id
        }
      self?.recheck { _, holder in holder == concerned }
    }
  }

  /// Follows what other processes change in the stores of that name, where they are shared.
  func watchSharedStores(_ names: [String]) async throws(KeyCustodyError) {
    for name in Set(names) {
      guard let store = policyStores[name], store.isShared else { continue }
      let watch = StoreWatch(store, since: try await store.currentRevision(), time: environment.time) {
        [weak self] change in self?.changed(elsewhere: change)
      }
      watches.withLock { $0.append(watch) }
    }
    guard resources.store.isShared else { return }
    try await agreeOnLongestLease()
  }

  /// A change that another process made, or this one: the store does not tell them apart.
  private func changed(elsewhere change: StoreChange) {
    switch change {
    case .put(let record): changed(record.key, record)
    case .deleted(let key, _): changed(key, nil)
    case .resynchronize:
      cache.forgetAll()
      resourceChanges.send(nil)
      recheck { _, _ in true }
    }
  }

  private func changed(_ key: RecordKey, _ record: PolicyRecord?) {
    let parts = key.description.split(separator: "/").map(String.init)
    switch (parts.first, parts.count) {
    case ("resources", 2): changedResource(parts[1], record)
    case ("vaults", 3) where ["definition", "policy"].contains(parts[2]):
      recheck { kek, _ in (try? kek.vault.folded) == parts[1] }
    case ("vaults", 4) where parts[2] == "keys":
      recheck { kek, _ in (try? kek.vault.folded) == parts[1] && kek.name.folded == parts[3] }
    case ("directory", 4) where parts[1] == "principals":
      recheck { _, holder in holder.tenant.folded == parts[2] && holder.subject.folded == parts[3] }
    case ("jobs", 2): if let id = try? ResourceID(parts[1]) { resourceChanges.send(id) }
    case (Self.leaseKey, _): if let record { heard(ofLease: record) }
    default: break
    }
  }

  /// Another process's view of a resource: keys that it retired are not used on here, and those it dropped are gone.
  private func changedResource(_ name: String, _ record: PolicyRecord?) {
    guard let record else {
      guard let id = try? ResourceID(name) else { return }
      let keys = cache[id]?.rootKeys.map(\.id) ?? []
      cache.forget(id, isDeleted: true)
      leases.end(keys)
      // It may have leases though nothing else of it is remembered.
      return recheck(of: id)
    }
    let deletions = cache.deletions
    guard let found = try? resources.decode(record, isKept: false) else { return }
    let id = found.value.id
    if let revision = cache.revision(id), revision >= found.revision { return }
    let known = cache[id]?.rootKeys.map(\.id)
    let keys = Set(found.value.rootKeys.map(\.id) + (known ?? []))
    // What is used by others alone is theirs to remember.
    guard known != nil || keys.contains(where: { leases.deadline(of: $0) != nil }) else {
      return resourceChanges.send(id)
    }
    remember(found, readAt: deletions)
    // It may have another identity now, or none.
    // Of what was forgotten here, nobody knows which keys it had: then all leases are gone through.
    if known == nil { recheck(of: id) } else { recheck(leases.markStale(keys, of: id)) }
  }

  private func recheck(where concerns: @escaping (KeyURI, PrincipalID) -> Bool) {
    recheck(leases.markStale(where: concerns))
  }

  private func recheck(of resource: ResourceID) { recheck(leases.markStale(of: resource)) }

  private func recheck(_ stale: [(key: RootKeyID, resource: ResourceID)]) {
    guard !stale.isEmpty else { return }
    for (_, resource) in stale { resourceChanges.send(resource) }
    // Perhaps nobody asks for these keys again: find out now whether they must be cleared.
    Task { [weak self] in
      for (key, resource) in stale {
        guard let self else { return }
        _ = try? await ResourceKeys(custody: self, resource: resource).rootKey(key, layer: nil)
      }
    }
  }

  // MARK: How long a revocation takes

  private static var leaseKey: String { "longest-lease" }
  /// How long sealing and storing a value may take where leases have no duration.
  static var storingTime: Duration { .seconds(60) }

  /// By when a revocation that was answered just now holds in every process of this deployment.
  ///
  /// In this process it holds at once; in others once they hear of it, and at the latest when the leases that they had
  /// by then have ended, whatever they can reach. It is as far ahead as the longest lease of the processes that ever
  /// opened this deployment with this store.
  public func effectiveEverywhere() -> Timestamp {
    environment.time.now() + (resources.store.isShared ? longestLease.withLock { $0 } : .zero)
  }

  /// Waits until no other process can still seal under a key that the record said `seen` ago to be retired.
  ///
  /// - Returns: whether there may be others.
  func waitForLeasesElsewhere(since seen: Duration) async throws(KeyCustodyError) -> Bool {
    guard resources.store.isShared else { return false }
    // Read again: one with longer leases may have come.
    if let record = try await resources.store.read(try RecordKey(Self.leaseKey)) { heard(ofLease: record) }
    let longest = longestLease.withLock { $0 }
    // Without leases nothing tells when who has looked a key up will have stored what is sealed under it.
    let end = seen + (longest > .zero ? longest : Self.storingTime)
    waitsForLeases.add(1, ordering: .relaxed)
    defer { waitsForLeases.subtract(1, ordering: .relaxed) }
    do { try await environment.time.wait(until: end) } catch { throw KeyCustodyError.jobEnded }
    return true
  }

  /// The most that a lease lasts in any process that shares the store, written down before this one grants any.
  private func agreeOnLongestLease() async throws(KeyCustodyError) {
    let path = try RecordKey(Self.leaseKey)
    let view = RecordView<LongestLease>(resources.store)
    let own = LongestLease(seconds: leases.duration.components.seconds)
    if try await !view.create(path, own) {
      try await view.update(path) { $0.seconds = max($0.seconds, own.seconds) }
    }
    if let record = try await resources.store.read(path) { heard(ofLease: record) }
  }

  private func heard(ofLease record: PolicyRecord) {
    guard let longest = try? RecordView<LongestLease>(resources.store).decode(record).value else { return }
    longestLease.withLock { $0 = max($0, .seconds(longest.seconds)) }
  }
}

/// How long leases last at most.
private struct LongestLease: Codable, Sendable {
  var seconds: Int64
}
