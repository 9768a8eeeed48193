public import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault
import Logging

/// What one round of upkeep did.
public struct UpkeepReport: Sendable, Hashable, Codable {
  /// How many resources were looked at.
  public var resources = 0
  /// Root keys wrapped anew, under a newer version of the service's own KEKs (SEMANTICS E12).
  public var rewrapped = 0
  /// Resources taken over to the newest version of their customer's key (SEMANTICS E5).
  public var followed = 0
  /// Root keys of transient data that were destroyed (SEMANTICS E13).
  public var destroyed = 0
  /// Conversions that nobody had put down.
  public var planned = 0
  /// Resources that could not be looked after now, such as those whose customer's key is withdrawn.
  public var failed = 0

  /// Nothing yet.
  public init() {}

  /// Adds what was done for a resource, and tells of it.
  fileprivate mutating func add(_ other: Self, _ progress: (Self) async -> Void) async {
    resources += other.resources
    rewrapped += other.rewrapped
    followed += other.followed
    destroyed += other.destroyed
    planned += other.planned
    failed += other.failed
    await progress(self)
  }
}

extension KeyCustody {
  /// Looks after every resource once, page by page, and after the service's own keys.
  ///
  /// It may be ended at any instant and begun again: what is done already is left alone. Several processes may do it at a
  /// time; a ``JobRunner`` sees to it that one does.
  ///
  /// - Parameters:
  ///   - keyAge: the service's own KEKs get a new version when the newest is older; `nil` leaves them.
  ///   - progress: told of each resource.
  /// - Throws: what the policy store throws; a single resource stops nothing. What making a new version of a KEK throws,
  ///   when everything else is done.
  @discardableResult
  public func upkeep(
    rotatingServiceKeysAfter keyAge: Duration? = nil, progress: (UpkeepReport) async -> Void = { _ in }
  ) async throws(KeyCustodyError) -> UpkeepReport {
    var failedRotation: KeyCustodyError?
    if let keyAge {
      // A provider without room for a new version is no reason to let the rest wait.
      do throws(KeyCustodyError) { try await rotateServiceKeys(olderThan: keyAge) } catch { failedRotation = error }
    }
    let (keks, store) = (KEKs(self), resources.store)
    // Side by side: what several have changed by then, a store writes at once.
    let (report, error) = await withTaskGroup(of: UpkeepReport.self) { group in
      var (report, running, last) = (UpkeepReport(), 0, RecordKey?.none)
      var obstacle: KeyCustodyError?
      do throws(KeyCustodyError) {
        while true {
          let page = try await store.list(prefix: "resources/", after: last, limit: Self.upkeepPage)
          // After the page: what it shows of a KEK is never newer than this, and nothing goes back to an older one.
          let newest = try await newestServiceKeys()
          for record in page {
            guard !Task.isCancelled else { throw KeyCustodyError.jobEnded }
            if running == Self.upkeepWidth, let done = await group.next() {
              await report.add(done, progress)
              running -= 1
            }
            group.addTask { await self.lookSafely(after: record, newest, keks) }
            running += 1
          }
          last = page.last?.key
          if page.count < Self.upkeepPage { break }
        }
      } catch {
        obstacle = error
      }
      for await done in group { await report.add(done, progress) }
      return (report, obstacle ?? (Task.isCancelled ? KeyCustodyError.jobEnded : nil))
    }
    if let error = error ?? failedRotation { throw error }
    return report
  }

  /// How many resources are looked after at a time.
  private static var upkeepWidth: Int { 32 }
  private static var upkeepPage: Int { 100 }

  /// What was done for one resource; an error is its own.
  private func lookSafely(after found: PolicyRecord, _ newest: [Layer: KeyURI], _ keks: KEKs) async -> UpkeepReport {
    var report = UpkeepReport()
    do throws(KeyCustodyError) {
      let found = try resources.decode(found, isKept: false)
      let record = found.value
      let isInUse = cache.revision(record.id) != nil
      // What nobody uses here is not kept for having been looked after: that would be all there is.
      defer {
        if !isInUse, !record.rootKeys.contains(where: { leases.deadline(of: $0.id) != nil }) { cache.forget(record.id) }
      }
      try await look(after: found, newest, keks, &report)
    } catch {
      report.failed += 1
      environment.logger.warning(
        "upkeep", metadata: ["record": "\(found.key)", "error": "\(error.code)/\(error.reason.rawValue)"])
    }
    report.resources += 1
    return report
  }

  private func rotateServiceKeys(olderThan age: Duration) async throws(KeyCustodyError) {
    let caller = try await principal(servicePrincipal)
    let context = CallContext(purpose: .administration, principal: servicePrincipal)
    for layer in Layer.allCases {
      let uri = try serviceKey(layer)
      guard let newest = try await vaults.key(uri, as: caller, context: context).newest,
        newest.created + age <= environment.time.now()
      else { continue }
      try await vaults.rotateKey(uri, as: caller, context: context)
    }
  }

  private func look(
    after found: RecordView<ResourceRecord>.Revised, _ newest: [Layer: KeyURI], _ keks: KEKs,
    _ report: inout UpkeepReport
  ) async throws(KeyCustodyError) {
    let record = found.value
    let resource = ProtectedResource(id: record.id, custody: self)
    let ended = try await endEpochs(of: record)
    report.destroyed += ended ?? 0
    if record.isUnderOlderKEKs(newest) {
      // Where something ended, the record is another one by now.
      var count: Int?
      if ended == nil { count = try await resource.rewrapServiceKeys(of: found, under: newest, keks: keks) }
      if count == nil { count = try await resource.rewrapServiceKeys() }
      report.rewrapped += count ?? 0
    }
    if record.mode.isConverting || !record.outgoing.isEmpty {
      guard try await pendingJob(for: record.id) == nil else { return }
      try await plan(record.id)
      report.planned += 1
    } else if try await resource.followNewest(record) {
      report.followed += 1
    }
  }

  // MARK: Epochs

  /// Ends the epochs of transient data that are over, and destroys the keys of those whose data is past its lifetime.
  ///
  /// - Returns: how many root keys were destroyed; `nil` where no epoch is over, and nothing was changed.
  private func endEpochs(of record: ResourceRecord) async throws(KeyCustodyError) -> Int? {
    let now = environment.time.now()
    guard record.rootKeys.contains(where: { record.isOver($0, at: now) && $0.isPrimary || record.isPast($0, at: now) })
    else { return nil }
    var gone: [RootKeyID] = []
    try await change(record.id) { (current) throws(KeyCustodyError) in
      gone = current.rootKeys.filter { current.isPast($0, at: now) }.map(\.id)
      current.rootKeys.removeAll { gone.contains($0.id) }
      for index in current.rootKeys.indices where current.isOver(current.rootKeys[index], at: now) {
        current.rootKeys[index].isPrimary = false
      }
    }
    leases.end(gone)
    return gone.count
  }

  /// The resource with root keys for an epoch of transient data that is not over.
  func withEpoch(
    _ known: ResourceOutline, _ group: RootKeyGroup
  ) async throws(KeyCustodyError) -> ResourceOutline {
    guard group == .transient else { return known }
    let now = environment.time.now()
    let missing = Layer.allCases.filter { layer in
      known.primary(layer, group).map { known.profile.isEpochOver(of: $0.created, at: now) } ?? true
    }
    guard !missing.isEmpty else { return known }
    let current = try await record(known.id)
    var made: [RootKeyRecord] = []
    for layer in missing where current.primary(layer, group).map({ current.isOver($0, at: now) }) ?? true {
      made.append(try await newServiceRootKey(known.id, layer: layer, group: group, epoch: current.nextEpoch))
    }
    let changed = try await change(known.id) { record in
      for key in made where record.primary(key.layer, group).map({ record.isOver($0, at: now) }) ?? true {
        record.setPrimary(key)
      }
    }
    return ResourceOutline(changed)
  }
}

extension Profile {
  /// Whether the epoch of transient data is over that a root key was made for.
  fileprivate func isEpochOver(of created: Timestamp, at now: Timestamp) -> Bool {
    created + .seconds(3600 * transientEpochHours) <= now
  }
}

extension ResourceRecord {
  /// Whether a root key's epoch of transient data is over: no new data goes under it.
  fileprivate func isOver(_ key: RootKeyRecord, at now: Timestamp) -> Bool {
    key.group == .transient && profile.isEpochOver(of: key.created, at: now)
  }

  /// Whether all data under a root key of transient data is past its lifetime.
  fileprivate func isPast(_ key: RootKeyRecord, at now: Timestamp) -> Bool {
    key.group == .transient
      && key.created + .seconds(3600 * (profile.transientEpochHours + profile.transientLifetimeHours)) <= now
  }
}

extension ProtectedResource {
  /// Takes the newest version of the customer's key over, where that was chosen and there is a newer one.
  fileprivate func followNewest(_ record: ResourceRecord) async throws(KeyCustodyError) -> Bool {
    guard record.mode == .customerManaged, record.followsNewest == true, let key = record.customerKey,
      let holder = record.rootKeys.first(where: \.isCustomerManaged)?.holder
    else { return false }
    let wanted = key.with(version: nil)
    let newest = try await custody.customerKey(
      wanted, as: holder, context: CallContext(purpose: .resource, principal: holder, resource: id))
    guard newest.uri != key else { return false }
    // The customer may have chosen otherwise since the record was read; while this goes on, the change itself sees it.
    let isStill = { (current: ResourceRecord) in
      current.mode == .customerManaged && current.followsNewest == true && current.customerKey == key
    }
    var isDone = false
    let follow = { (current: ResourceRecord) async throws(KeyCustodyError) in
      guard isStill(current) else { return }
      try await beginUpdating(wanted, current)
      isDone = true
    }
    switch record.profile.rotation {
    case .rewrap: try await follow(try await custody.record(id))
    case .reencrypt: if isStill(try await custody.record(id)) { try await whilePlanned(follow) }
    }
    return isDone
  }
}
