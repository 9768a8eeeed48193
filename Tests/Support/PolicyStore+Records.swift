public import KeyCustody

extension PolicyStore {
  /// Writes a new record.
  @discardableResult
  public func put(_ key: String, _ value: [UInt8] = [1]) async throws -> StoreRevision {
    let outcome = try await compareAndSet(try RecordKey(key), expecting: nil, value: value)
    guard case .stored(let revision) = outcome else { throw KeyCustodyError(.fault, .conflict, key) }
    return revision
  }

  /// Every record, by pages.
  public func all() async throws -> [PolicyRecord] {
    var all: [PolicyRecord] = []
    while true {
      let page = try await list(prefix: "", after: all.last?.key, limit: 1000)
      if page.isEmpty { return all }
      all += page
    }
  }
}

extension KeyCustodyError {
  /// A code and a reason, to compare with.
  public static func of(_ code: Code, _ reason: Reason) -> KeyCustodyError { KeyCustodyError(code, reason, "") }
}
