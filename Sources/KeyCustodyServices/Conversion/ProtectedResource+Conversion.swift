public import KeyCustody
import KeyCustodyEnvelope

extension ProtectedResource {
  private static var pageSize: Int { 100 }

  /// Converts what `stores` still hold under an older outer root key, then forgets that key.
  ///
  /// It may be called again at any time, after an interruption for instance; what is converted already is left alone.
  /// New data goes under the new key from the moment the change began. A value that was sealed before that moment must
  /// be in its store before this is called: once the old key is gone, it could not be opened any more.
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
    var converted = 0
    for store in stores {
      // Until a whole pass finds nothing left: items may have come in behind the pass.
      while true {
        let count = try await pass(over: store, record: record, to: primary) {
          converted += 1
          progress(converted)
        }
        if count == 0 { break }
      }
    }
    let outgoing = record.outgoing
    try await custody.change(id) { (current) throws(KeyCustodyError) in
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
        try await store.renew(item, renewal)
        count += 1
        done()
      }
      last = page.last?.object
      if page.count < Self.pageSize { return count }
    }
  }
}
