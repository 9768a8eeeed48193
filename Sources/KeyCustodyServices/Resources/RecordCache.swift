import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// The resources that this process remembers, each by the newest record it has seen, and what seals and opens by them:
/// at most some 260,000, of which those that were not used for longest are forgotten first.
final class RecordCache: Sendable {
  /// What seals and opens one resource's values of one data class.
  private struct Ports {
    /// As callers write it.
    let dataClass: String
    var sealer: Sealer?
    var opener: Opener?
  }
  /// An object: a table of what it holds would be half empty.
  private final class Entry: Sendable {
    let profile: ResourceOutline.SharedProfile
    let rootKeys: [ResourceOutline.Key]
    let revision: StoreRevision

    init(_ outline: ResourceOutline, _ revision: StoreRevision) {
      profile = outline.shared
      rootKeys = outline.rootKeys
      self.revision = revision
    }

    func outline(_ id: ResourceID) -> ResourceOutline { ResourceOutline(id, profile, rootKeys) }
  }
  private struct State {
    let maximumRecent: Int
    /// What was remembered or used of late, and what was before that.
    private var recent: [ResourceID: Entry] = [:]
    private var older: [ResourceID: Entry] = [:]
    /// Nearly all resources have one of a few.
    var profiles: [Profile: ResourceOutline.SharedProfile] = [:]
    /// Apart from the records: whoever looks one up takes a copy, and this is small.
    var ports: [ResourceID: [Ports]] = [:]
    /// How many resources were deleted: what was read before a deletion is not remembered after it.
    var deletions: UInt64 = 0
    var portCount = 0

    mutating func shared(_ profile: Profile) -> ResourceOutline.SharedProfile {
      if let known = profiles[profile] { return known }
      if profiles.count >= RecordCache.maximumProfiles { profiles = [:] }
      let new = ResourceOutline.SharedProfile(profile)
      profiles[profile] = new
      return new
    }

    init(maximumRecent: Int) { self.maximumRecent = maximumRecent }

    /// What is remembered of a resource, which counts as used.
    mutating func entry(_ id: ResourceID) -> Entry? {
      if let entry = recent[id] { return entry }
      guard let entry = older.removeValue(forKey: id) else { return nil }
      keep(entry, of: id)
      return entry
    }

    mutating func keep(_ entry: Entry, of id: ResourceID) {
      if recent.count >= maximumRecent {
        // What was not used since the last time goes.
        (older, recent) = (recent, [:])
      }
      recent[id] = entry
    }

    var count: Int { recent.count + older.count }

    mutating func forgetEntries() { (recent, older) = ([:], [:]) }

    mutating func forget(_ id: ResourceID) {
      recent[id] = nil
      older[id] = nil
      portCount -= ports.removeValue(forKey: id)?.count ?? 0
    }
  }
  private let state: Mutex<State>
  /// The most data classes that are remembered to be sealed for; past that all are made anew.
  private static let maximumPorts = 512

  private static let maximumProfiles = 64

  /// - Parameter maximumRecent: half of the resources that are remembered at most.
  init(maximumRecent: Int = 1 << 17) { state = Mutex(State(maximumRecent: maximumRecent)) }

  subscript(_ id: ResourceID) -> ResourceOutline? { state.withLock { $0.entry(id)?.outline(id) } }

  /// How many resources are remembered.
  var count: Int { state.withLock { $0.count } }

  var deletions: UInt64 { state.withLock { $0.deletions } }

  /// What is known once a record was read.
  struct News {
    /// Whether a newer one had been seen before.
    var isOutdated = false
    /// Whether it is newer than what was known.
    var isNews = false
    /// The root keys that were for new data by what was known, and are not by it.
    var retired: [RootKeyID] = []
  }

  /// Remembers a record unless a newer one is known.
  func remember(
    _ found: RecordView<ResourceRecord>.Revised, readAt deletions: UInt64
  ) -> News {
    let id = found.value.id
    return state.withLock { state in
      let known = state.entry(id)
      if let known, known.revision >= found.revision { return News(isOutdated: known.revision > found.revision) }
      // What is known is older, and goes in any case.
      state.forget(id)
      if deletions == state.deletions {
        let outline = ResourceOutline(found.value, state.shared(found.value.profile))
        state.keep(Entry(outline, found.revision), of: id)
      }
      return News(isNews: true, retired: known.map { found.value.retired(since: $0.outline(id)) } ?? [])
    }
  }

  /// The revision of what is remembered of a resource.
  func revision(_ id: ResourceID) -> StoreRevision? { state.withLock { $0.entry(id)?.revision } }

  func forget(_ id: ResourceID, isDeleted: Bool = false) {
    state.withLock { state in
      state.forget(id)
      if isDeleted { state.deletions += 1 }
    }
  }

  /// Everything may have changed: look before the next use.
  func forgetAll() {
    state.withLock { state in
      state.forgetEntries()
      state.profiles = [:]
      state.ports = [:]
      state.portCount = 0
      state.deletions += 1
    }
  }

  // MARK: Ports

  /// What seals new values; of the record that is remembered now, or none.
  func sealer(_ id: ResourceID, _ dataClass: String) -> Sealer? {
    state.withLock { state in
      guard let ports = state.ports[id] else { return nil }
      for index in ports.indices where ports[index].dataClass == dataClass { return ports[index].sealer }
      return nil
    }
  }

  func opener(_ id: ResourceID, _ dataClass: String) -> Opener? {
    state.withLock { state in
      guard let ports = state.ports[id] else { return nil }
      for index in ports.indices where ports[index].dataClass == dataClass { return ports[index].opener }
      return nil
    }
  }

  /// Keeps a sealer for as long as the record stands, if that is still one that says the same of its keys.
  func keep(_ sealer: Sealer, _ id: ResourceID, _ dataClass: String, if isRight: (ResourceOutline) -> Bool) {
    change(id, dataClass, if: isRight) { $0.sealer = sealer }
  }

  func keep(_ opener: Opener, _ id: ResourceID, _ dataClass: String, if isRight: (ResourceOutline) -> Bool) {
    change(id, dataClass, if: isRight) { $0.opener = opener }
  }

  private func change(
    _ id: ResourceID, _ dataClass: String, if isRight: (ResourceOutline) -> Bool, _ body: (inout Ports) -> Void
  ) {
    state.withLock { state in
      guard let found = state.entry(id), isRight(found.outline(id)) else { return }
      if state.portCount >= Self.maximumPorts {
        state.ports = [:]
        state.portCount = 0
      }
      var all = state.ports[id] ?? []
      let index = all.firstIndex { $0.dataClass == dataClass } ?? all.count
      if index == all.count {
        all.append(Ports(dataClass: dataClass))
        state.portCount += 1
      }
      body(&all[index])
      state.ports[id] = all
    }
  }
}
