import CKeyCustodyPKCS11
import KeyCustody

/// What a store's session knows of the objects behind its records.
struct StoreObjects: Sendable {
  /// The objects of each record: the current one last, before it those that could not be removed yet.
  var records: [RecordKey: [CK_OBJECT_HANDLE]] = [:]
  /// The objects of the counter, the current one last.
  var counters: [CK_OBJECT_HANDLE] = []
  /// Revisions up to here may be given out.
  var reserved: UInt64 = 0
  /// Whether a write failed in such a way that the token may hold what is not known here.
  var isUncertain = false
  /// How many revisions are reserved at once: so many writes cost one write of the counter.
  static let block: UInt64 = 1000
}

/// Records as objects of a token.
extension CryptokiSession {
  /// Reads all records.
  ///
  /// Torn objects beside an intact one are removed, and so are older ones.
  ///
  /// - Throws: `integrityFailure` (`damaged`) for a record of which no intact object is left.
  func loadRecords() throws(PKCS11Failure) -> (objects: StoreObjects, table: RecordTable) {
    let (read, superseded) = try surely { () throws(PKCS11Failure) in try readRecords() }
    for handle in superseded { try destroy(handle) }
    return read
  }

  private func readRecords() throws(PKCS11Failure) -> (
    read: (objects: StoreObjects, table: RecordTable), superseded: [CK_OBJECT_HANDLE]
  ) {
    var objects = StoreObjects()
    var found: [RecordKey: (record: PolicyRecord, handle: CK_OBJECT_HANDLE)] = [:]
    var damaged: [String: [CK_OBJECT_HANDLE]] = [:]
    var superseded: [CK_OBJECT_HANDLE] = []
    for handle in try find(StoredRecord.search(StoredRecord.application), limit: .max) {
      let label = String(decoding: try readLong(CKA_LABEL, of: handle) ?? [], as: UTF8.self)
      guard let record = try record(handle, label) else {
        damaged[label, default: []].append(handle)
        continue
      }
      if let other = found[record.key], other.record.revision > record.revision {
        superseded.append(handle)
      } else {
        if let other = found[record.key] { superseded.append(other.handle) }
        found[record.key] = (record, handle)
      }
    }
    for (label, handles) in damaged {
      guard let key = try? RecordKey(label), found[key] != nil else { throw .custody(Self.damaged(label)) }
      superseded += handles
    }
    superseded += try loadCounter(&objects)
    objects.records = found.mapValues { [$0.handle] }
    let table = RecordTable(found.values.map(\.record), revision: StoreRevision(objects.reserved))
    return ((objects, table), superseded)
  }

  private func record(_ handle: CK_OBJECT_HANDLE, _ label: String) throws(PKCS11Failure) -> PolicyRecord? {
    guard let stored = try readLong(CKA_VALUE, of: handle) else { return nil }
    let decoded = try onHost { () throws(KeyCustodyError) in try StoredRecord.decode(stored) }
    // A record under another's label is as wrong as a torn one.
    guard let decoded, decoded.key == label, let key = try? RecordKey(label) else { return nil }
    return PolicyRecord(key: key, revision: decoded.revision, value: decoded.value)
  }

  /// - Returns: counters of before.
  private func loadCounter(_ objects: inout StoreObjects) throws(PKCS11Failure) -> [CK_OBJECT_HANDLE] {
    var newest: (reserved: UInt64, handle: CK_OBJECT_HANDLE)?
    var others: [CK_OBJECT_HANDLE] = []
    for handle in try find(StoredRecord.search(StoredRecord.counterApplication), limit: .max) {
      let stored = try readLong(CKA_VALUE, of: handle) ?? []
      let decoded = try onHost { () throws(KeyCustodyError) in try StoredRecord.decode(stored) }
      guard let decoded, decoded.revision.number >= newest?.reserved ?? 0 else {
        others.append(handle)
        continue
      }
      if let newest { others.append(newest.handle) }
      newest = (decoded.revision.number, handle)
    }
    guard let newest else {
      guard others.isEmpty else { throw .custody(Self.damaged("the revision counter")) }
      return []
    }
    objects.counters = [newest.handle]
    objects.reserved = newest.reserved
    return others
  }

  static func damaged(_ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The policy store's record '\(what)' on the token is damaged.",
      remedy: "Restore the token from its backup, or remove the CKO_DATA object of that label with the vendor's tool.")
  }

  /// Writes a record: the new object first, so that a crash leaves the old one, the new one or both.
  func write(_ record: PolicyRecord, _ objects: inout StoreObjects) throws(PKCS11Failure) {
    try reserve(record.revision, &objects)
    let value = try onHost { () throws(KeyCustodyError) in try StoredRecord.encode(record) }
    let template = StoredRecord.template(StoredRecord.application, label: record.key.description, value: value)
    objects.isUncertain = true
    let new = try create(template)
    objects.isUncertain = false
    let old = objects.records[record.key] ?? []
    objects.records[record.key] = old.filter { !removed($0) } + [new]
  }

  /// Removes a record: the current object last, so that a crash never brings back an older one.
  func remove(_ key: RecordKey, at revision: StoreRevision, _ objects: inout StoreObjects) throws(PKCS11Failure) {
    // The revision of a removal is in no record; the counter alone remembers it.
    try reserve(revision, &objects)
    objects.isUncertain = true
    for handle in objects.records[key] ?? [] where !removed(handle) {
      throw .code(CKR_FUNCTION_FAILED, "C_DestroyObject")
    }
    // A handle is as good as gone while nobody is logged in.
    let search = StoredRecord.search(StoredRecord.application, label: key.description)
    guard try surely({ () throws(PKCS11Failure) in try find(search, limit: 1) }).isEmpty else {
      throw .code(CKR_OBJECT_HANDLE_INVALID, "C_DestroyObject")
    }
    objects.isUncertain = false
    objects.records[key] = nil
  }

  /// Whether an object is gone now.
  private func removed(_ handle: CK_OBJECT_HANDLE) -> Bool {
    do throws(PKCS11Failure) { try destroy(handle) } catch { return error.code == CKR_OBJECT_HANDLE_INVALID }
    return true
  }

  /// Makes sure that revisions grow even when the newest are of removals, and the process ends.
  private func reserve(_ revision: StoreRevision, _ objects: inout StoreObjects) throws(PKCS11Failure) {
    guard revision.number > objects.reserved else { return }
    let reserved = StoreRevision(revision.number + StoreObjects.block - 1)
    let value = try onHost { () throws(KeyCustodyError) in try StoredRecord.encode("counter", reserved, []) }
    let new = try create(StoredRecord.template(StoredRecord.counterApplication, label: "counter", value: value))
    objects.counters = objects.counters.filter { !removed($0) } + [new]
    objects.reserved = reserved.number
  }
}
