import Synchronization

/// What records were decoded to, so that one that is read again is not decoded again.
///
/// It is asked by the bytes that the store has just given, and compares them: whatever changes a record, and whoever
/// does, nothing old is answered.
final class DecodedRecords: Sendable {
  private struct Entry {
    let bytes: [UInt8]
    let decoded: any DecodedRecord
  }
  private struct State {
    var entries: [RecordKey: Entry] = [:]
    var bytes = 0
  }
  private let state = Mutex(State())
  /// Larger ones are rare, and read seldom.
  private static let largest = 16 << 10
  private static let mostBytes = 512 << 10

  /// What a record was decoded to, if it is still the same.
  func find(_ record: PolicyRecord) -> (any DecodedRecord)? {
    let entry = state.withLock { $0.entries[record.key] }
    // Of a store that keeps what it read the two are one array, which takes no comparison.
    return entry?.bytes == record.value ? entry?.decoded : nil
  }

  func keep(_ decoded: any DecodedRecord, of record: PolicyRecord) {
    guard record.value.count <= Self.largest else { return }
    state.withLock { state in
      // Rarely, and all at once: what is in use is soon there again.
      if state.bytes > Self.mostBytes { state = State() }
      let old = state.entries.updateValue(Entry(bytes: record.value, decoded: decoded), forKey: record.key)
      // Decoded it takes several times the room.
      state.bytes += record.value.count * 4 + 256 - (old.map { $0.bytes.count * 4 + 256 } ?? 0)
    }
  }
}

/// A record's value, of whatever type: what is the same for all types need not be generic, and is the faster for it.
protocol DecodedRecord: AnyObject, Sendable {}

/// A record's value.
final class Decoded<Value: Sendable>: DecodedRecord {
  let value: Value

  init(_ value: Value) { self.value = value }
}
