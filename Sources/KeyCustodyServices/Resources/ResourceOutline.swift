import KeyCustody
import KeyCustodyEnvelope

/// What a process remembers of a resource: all that the use of its root keys needs, and none of the keys, wrapped or not.
///
/// A record has several kilobytes; this is a tenth, and there is one for each resource that was used.
struct ResourceOutline: Sendable {
  /// One root key.
  struct Key: Sendable {
    let id: RootKeyID
    // In seconds: half of the room.
    private let createdSecond: UInt32
    let layer: Layer
    let group: RootKeyGroup
    let isPrimary: Bool
    let isCustomerManaged: Bool

    init(_ record: RootKeyRecord) {
      id = record.id
      createdSecond = UInt32(clamping: record.created.milliseconds / 1000)
      layer = record.layer
      group = record.group
      isPrimary = record.isPrimary
      isCustomerManaged = record.isCustomerManaged
    }

    /// When it was made, or up to a second before.
    var created: Timestamp { Timestamp(milliseconds: Int64(createdSecond) * 1000) }
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
