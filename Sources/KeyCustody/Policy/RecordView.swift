/// A typed view of records of a ``PolicyStore``: JSON with sorted keys, and changes by compare-and-set.
public struct RecordView<Value: Sendable>: Sendable {
  /// The store behind the view.
  public let store: any PolicyStore
  private let form: RecordForm<Value>
  private let decoded = DecodedRecords()
  private static var attempts: Int { 64 }

  /// A view of `store`.
  public init(_ store: any PolicyStore) where Value: Codable {
    self.store = store
    form = .codable()
  }

  /// A view of `store`, of values that read and write themselves.
  package init(_ store: any PolicyStore) where Value: JSONCoded {
    self.store = store
    form = .selfCoded()
  }

  /// A record's value, and the revision at which it was last written.
  public struct Revised: Sendable {
    /// The value.
    public let value: Value
    /// Of two readings of one record, the one with the higher revision is the newer.
    public let revision: StoreRevision
  }

  /// Reads a record; `nil` when there is none.
  ///
  /// - Throws: `integrityFailure` (`damaged`) for a record that is not of this type; what the store throws.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> Value? {
    guard let record = try await store.read(key) else { return nil }
    return try known(record).value
  }

  /// Reads a record with its revision, for those who remember it; `nil` when there is none.
  ///
  /// - Throws: as ``read(_:)``.
  public func readRevised(_ key: RecordKey) async throws(KeyCustodyError) -> Revised? {
    guard let record = try await store.read(key) else { return nil }
    return try decode(record)
  }

  /// The value of a record that was got in another way, such as by watching.
  ///
  /// - Parameter isKept: whether it is likely to be asked for again as it is.
  /// - Throws: `integrityFailure` (`damaged`).
  public func decode(_ record: PolicyRecord, isKept: Bool = true) throws(KeyCustodyError) -> Revised {
    Revised(value: isKept ? try known(record).value : try value(record), revision: record.revision)
  }

  private func known(_ record: PolicyRecord) throws(KeyCustodyError) -> Decoded<Value> {
    if let known = decoded.find(record) as? Decoded<Value> { return known }
    let fresh = Decoded(try value(record))
    decoded.keep(fresh, of: record)
    return fresh
  }

  /// Adds a record.
  ///
  /// - Returns: `false` when there is one already, which is then left as it was.
  public func create(_ key: RecordKey, _ value: Value) async throws(KeyCustodyError) -> Bool {
    if case .stored = try await store.compareAndSet(key, expecting: nil, value: try encode(value)) {
      true
    } else {
      false
    }
  }

  /// Changes a record; `change` may run several times, each time on what is there by then.
  ///
  /// - Returns: the value written, or `nil` when there is no record.
  /// - Throws: what `change` throws, and then nothing is changed; `busy` when others keep changing the record.
  @discardableResult
  public func update(
    _ key: RecordKey, _ change: (inout Value) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) -> Value? { try await updateRevised(key, change)?.value }

  /// Changes a record as ``update(_:_:)`` does, and answers with its revision too.
  public func updateRevised(
    _ key: RecordKey, _ change: (inout Value) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) -> Revised? {
    guard var record = try await store.read(key) else { return nil }
    for _ in 0..<Self.attempts {
      var value = try self.value(record)
      try change(&value)
      let bytes = try encode(value)
      guard bytes != record.value else { return Revised(value: value, revision: record.revision) }
      switch try await store.compareAndSet(key, expecting: record.revision, value: bytes) {
      case .stored(let revision): return Revised(value: value, revision: revision)
      case .conflict(nil): return nil
      case .conflict(let current?): record = current
      }
    }
    throw KeyCustodyError(
      .busy, .conflict, "The record '\(key)' is being changed by others.", retryAfter: .milliseconds(50))
  }

  /// Writes a record if the store still holds the revision expected.
  ///
  /// - Returns: `nil` when it holds another one, or none.
  public func replace(
    _ key: RecordKey, expecting revision: StoreRevision, with value: Value
  ) async throws(KeyCustodyError) -> Revised? {
    guard case .stored(let new) = try await store.compareAndSet(key, expecting: revision, value: try encode(value))
    else {
      return nil
    }
    return Revised(value: value, revision: new)
  }

  /// Removes a record whatever it holds.
  ///
  /// - Returns: whether there was one.
  public func remove(_ key: RecordKey) async throws(KeyCustodyError) -> Bool {
    var found = try await store.read(key)
    while let record = found {
      switch try await store.delete(key, expecting: record.revision) {
      case .stored: return true
      case .conflict(let current): found = current
      }
    }
    return false
  }

  /// Every record whose key begins with `prefix`, a page at a time.
  public func all(prefix: String) async throws(KeyCustodyError) -> [(key: RecordKey, value: Value)] {
    var result: [(key: RecordKey, value: Value)] = []
    while true {
      let page = try await store.list(prefix: prefix, after: result.last?.key, limit: PolicyStoreLimits.pageSize)
      for record in page { result.append((record.key, try value(record))) }
      if page.count < PolicyStoreLimits.pageSize { return result }
    }
  }

  /// Up to `limit` records whose keys begin with `prefix`, in byte order of their keys, after `key`.
  public func page(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [(key: RecordKey, value: Value)] {
    var result: [(key: RecordKey, value: Value)] = []
    for record in try await store.list(prefix: prefix, after: key, limit: limit) {
      result.append((record.key, try value(record)))
    }
    return result
  }

  private func value(_ record: PolicyRecord) throws(KeyCustodyError) -> Value {
    do { return try form.read(record.value) } catch {
      throw KeyCustodyError(
        .integrityFailure, .damaged, "The record '\(record.key)' of the policy store is not what it should be.",
        remedy: "Restore the policy store from a backup.", diagnostic: "\(error)")
    }
  }

  private func encode(_ value: Value) throws(KeyCustodyError) -> [UInt8] {
    do { return try form.write(value) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A record could not be written as JSON.", diagnostic: "\(error)")
    }
  }
}
