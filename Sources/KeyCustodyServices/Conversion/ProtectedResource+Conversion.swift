public import KeyCustody
import KeyCustodyEnvelope

extension ProtectedResource {
  private static var pageSize: Int { 100 }
  private static var maximumPasses: Int { 100 }

  /// Converts what `stores` still hold under an older outer root key, then forgets that key.
  ///
  /// It may be called again at any time, after an interruption for instance; what is converted already is left alone.
  /// New data goes under the new key from the moment the change began. What is sealed and stored in one step
  /// (``seal(_:as:dataClass:identifiers:storing:)``) is waited for; a value that was sealed before that moment in another
  /// way must be in its store before this is called: once the old key is gone, it could not be opened any more.
  ///
  /// - Parameter progress: told how many items are converted, now and then.
  /// - Returns: how many items were converted.
  @discardableResult
  public func resumeConversion(
    of stores: [any SealedStore], progress: @Sendable (Int) -> Void = { _ in }
  ) async throws(KeyCustodyError) -> Int {
    var converted = 0
    return try await resumeConversion(of: stores, pace: nil) { _ in
      converted += 1
      progress(converted)
    }
  }

  /// - Parameters:
  ///   - pace: holds it back.
  ///   - done: told of each item that was converted.
  func resumeConversion(
    of stores: [any SealedStore], pace: Pace?, _ done: (SealedItem) -> Void
  ) async throws(KeyCustodyError) -> Int {
    let record = try await custody.record(id)
    let seen = custody.environment.time.running()
    let outgoing = record.outgoing
    guard record.mode.isConverting || !outgoing.isEmpty, let primary = record.primary(.customer, .longTerm)
    else { return 0 }
    for key in outgoing { try await custody.sealings.settle(key.id) }
    // Whoever still holds a sealer of theirs seals no more with it.
    custody.leases.end(outgoing.map(\.id))
    var converted = 0
    let count = { (item: SealedItem) in
      converted += 1
      done(item)
    }
    try await exhaust(stores, record: record, to: primary, pace, count)
    if !outgoing.isEmpty, try await custody.waitForLeasesElsewhere(since: seen) {
      // What was sealed there before anybody knew.
      try await exhaust(stores, record: record, to: primary, pace, count)
    }
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      // Somebody else has come to the end first.
      if !outgoing.isEmpty, current.mode == record.mode.after(.settle),
        !current.rootKeys.contains(where: { key in outgoing.contains { $0.id == key.id } })
      {
        return
      }
      // Wrapped anew meanwhile they are still the same keys.
      guard current.mode == record.mode, current.keyset == record.keyset else { throw Self.changedMeanwhile(id) }
      current.rootKeys.removeAll { old in outgoing.contains { $0.id == old.id } }
      current.mode = record.mode.after(.settle) ?? record.mode
      if record.mode == .disabling { current.customerKey = nil }
    }
    custody.leases.end(outgoing.map(\.id))
    return converted
  }

  /// Converts until a whole pass over each store finds nothing left: items may come in behind a pass.
  private func exhaust(
    _ stores: [any SealedStore], record: ResourceRecord, to primary: RootKeyRecord, _ pace: Pace?,
    _ done: (SealedItem) -> Void
  ) async throws(KeyCustodyError) {
    for store in stores {
      var passes = 0
      while try await pass(over: store, record: record, to: primary, pace, done) > 0 {
        passes += 1
        guard passes < Self.maximumPasses else { throw Self.neverEnding(id) }
      }
    }
  }

  private func pass(
    over store: any SealedStore, record: ResourceRecord, to primary: RootKeyRecord, _ pace: Pace?,
    _ done: (SealedItem) -> Void
  ) async throws(KeyCustodyError) -> Int {
    var count = 0
    var last: String?
    while true {
      let page = try await store.items(of: id, after: last, excluding: primary.id, limit: Self.pageSize)
      for item in page where item.header.rootKey != primary.id {
        guard try record.profile.group(of: item.dataClass) == .longTerm else { continue }
        guard !Task.isCancelled else { throw KeyCustodyError.jobEnded }
        try await pace?.take(bytes: item.size)
        custody.sealings.begin(primary.id)
        defer { custody.sealings.end(primary.id) }
        // Looked up after the beginning: either whoever drops this key waits for the renewal, or this sees the drop.
        guard try await isPrimary(primary.id, .longTerm) else { throw Self.changedMeanwhile(id) }
        let renewal = SealedRenewal(
          keys: keys, newKey: try await custody.lease(ResourceOutline.Key(primary), of: id),
          context: try SealingContext(
            resource: id, dataClass: item.dataClass, object: item.object, identifiers: item.identifiers),
          random: custody.environment.random)
        do throws(KeyCustodyError) { try await store.renew(item, renewal) } catch {
          // Somebody else has converted it, and was done with the older key.
          if error.reason == .unknownRootKey, try await wasDropped(item.header.rootKey, since: record) { continue }
          // A lease ended between the look-up and the use: the next pass comes to it.
          if error.reason == .leaseEnded {
            count += 1
            continue
          }
          throw Self.naming(item.object, error)
        }
        count += 1
        done(item)
      }
      // An empty page is the end: a store may give less than was asked for.
      guard let end = page.last else { return count }
      last = end.object
    }
  }

  private func wasDropped(_ key: RootKeyID, since record: ResourceRecord) async throws(KeyCustodyError) -> Bool {
    guard record.keyset[key] != nil else { return false }
    return try await custody.record(id).keyset[key] == nil
  }

  private static func neverEnding(_ id: ResourceID) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .conflict, "Data of '\(id)' keeps turning up under the older root key.",
      remedy: "Seal and store in one step everywhere, and check that the store keeps what it renews; then resume.",
      retryAfter: .seconds(1))
  }

  /// An error that says which item it is about, where the item is at fault.
  private static func naming(_ object: String, _ error: KeyCustodyError) -> KeyCustodyError {
    guard [.integrityFailure, .invalidInput, .unsupported].contains(error.code) else { return error }
    // What it was sealed with is the store's to know: here nobody can have given a wrong name.
    let isDamaged = error.reason == .notAuthentic || error.reason == .truncated
    return KeyCustodyError(
      error.code, error.reason, "The item '\(shown(object))' can't be converted. \(error.message)",
      remedy: isDamaged || error.remedy.isEmpty
        ? "Restore it from a backup, or remove it; then resume." : error.remedy,
      diagnostic: error.diagnostic)
  }
}

/// An object's name for a message: bounded, and without control characters.
func shown(_ object: String) -> String {
  String(object.unicodeScalars.prefix(100).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) })
}
