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
    let record = try await custody.record(id, refresh: true)
    guard [.enabling, .updating, .disabling].contains(record.mode),
      let primary = record.primary(.customer, .longTerm)
    else { return 0 }
    let outgoing = record.outgoing
    for key in outgoing { await custody.sealings.settle(key.id) }
    var converted = 0
    for store in stores {
      // Until a whole pass finds nothing left: items may have come in behind the pass.
      var passes = 0
      while try await pass(
        over: store, record: record, to: primary,
        {
          converted += 1
          progress(converted)
        }) > 0
      {
        passes += 1
        guard passes < Self.maximumPasses else { throw Self.neverEnding(id) }
      }
    }
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      // Somebody else has come to the end first.
      if !outgoing.isEmpty, !current.rootKeys.contains(where: { key in outgoing.contains { $0.id == key.id } }) {
        return
      }
      guard current.mode == record.mode, current.rootKeys == record.rootKeys else { throw Self.changedMeanwhile(id) }
      current.rootKeys.removeAll { old in outgoing.contains { $0.id == old.id } }
      current.mode = record.mode == .disabling ? .serviceManaged : .customerManaged
      if record.mode == .disabling { current.customerKey = nil }
    }
    custody.leases.end(outgoing.map(\.id))
    return converted
  }

  private func pass(
    over store: any SealedStore, record: ResourceRecord, to primary: RootKeyRecord, _ done: () -> Void
  ) async throws(KeyCustodyError) -> Int {
    var count = 0
    var last: String?
    while true {
      let page = try await store.items(of: id, after: last, limit: Self.pageSize)
      for item in page where item.header.rootKey != primary.id {
        guard try record.profile.group(of: item.dataClass) == .longTerm else { continue }
        let renewal = SealedRenewal(
          keys: keys, newKey: try await custody.lease(primary, of: record),
          context: try SealingContext(
            resource: id, dataClass: item.dataClass, object: item.object, identifiers: item.identifiers),
          random: custody.environment.random)
        do throws(KeyCustodyError) { try await store.renew(item, renewal) } catch {
          throw Self.naming(item.object, error)
        }
        count += 1
        done()
      }
      last = page.last?.object
      if page.count < Self.pageSize { return count }
    }
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
    let name = String(
      object.unicodeScalars.prefix(100).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) })
    return KeyCustodyError(
      error.code, error.reason, "The item '\(name)' can't be converted. \(error.message)",
      remedy: error.remedy.isEmpty ? "Restore it from a backup, or remove it; then resume." : error.remedy,
      diagnostic: error.diagnostic)
  }
}
