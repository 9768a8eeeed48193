import KeyCustody
import KeyCustodyEnvelope

/// What a process remembers of a resource: all that the use of its root keys needs, and none of the keys, wrapped or not.
///
/// A record has several kilobytes; this is a tenth, and there is one for each resource that was used.
struct ResourceOutline: Sendable {
  /// One root key.
  struct Key: Sendable {
    let id: RootKeyID
    // 16 bytes in all, since there are several for each resource: the milliseconds in 48 bits, the rest in 16.
    private let createdLow: UInt32
    private let createdHigh: UInt16
    let group: RootKeyGroup
    private let marks: UInt8

    init(_ record: RootKeyRecord) {
      id = record.id
      let created = min(max(record.created.milliseconds, 0), 1 << 48 - 1)
      createdLow = UInt32(truncatingIfNeeded: created)
      createdHigh = UInt16(truncatingIfNeeded: created >> 32)
      group = record.group
      marks = (record.layer == .customer ? 1 : 0) | (record.isPrimary ? 2 : 0) | (record.isCustomerManaged ? 4 : 0)
    }

    var created: Timestamp { Timestamp(milliseconds: Int64(createdHigh) << 32 | Int64(createdLow)) }
    var layer: Layer { marks & 1 != 0 ? .customer : .service }
    var isPrimary: Bool { marks & 2 != 0 }
    var isCustomerManaged: Bool { marks & 4 != 0 }
  }

  /// A profile, shared by all resources that have it.
  final class SharedProfile: Sendable {
    let profile: Profile
    init(_ profile: Profile) { self.profile = profile }
  }

  let id: ResourceID
  let shared: SharedProfile
  let rootKeys: [Key]

  init(_ id: ResourceID, _ shared: SharedProfile, _ rootKeys: [Key]) {
    self.id = id
    self.shared = shared
    self.rootKeys = rootKeys
  }

  init(_ record: ResourceRecord, _ profile: SharedProfile? = nil) {
    id = record.id
    shared = profile ?? SharedProfile(record.profile)
    rootKeys = record.rootKeys.map { Key($0) }
  }

  var profile: Profile { shared.profile }

  func primary(_ layer: Layer, _ group: RootKeyGroup) -> Key? {
    rootKeys.last { $0.layer == layer && $0.group == group && $0.isPrimary }
  }
}

extension ResourceRecord {
  /// The root keys that new data went under by an earlier form of the record, and does not by this one.
  func retired(since earlier: ResourceOutline) -> [RootKeyID] {
    let primaries = Set(rootKeys.filter(\.isPrimary).map(\.id))
    return earlier.rootKeys.filter { $0.isPrimary && !primaries.contains($0.id) }.map(\.id)
  }
}
