import KeyCustodyEnvelope

/// Root keys by the ends of their leases, the earliest first: a binary heap.
///
/// An entry stays until its time, also where its lease has ended or goes on: whoever takes it out looks.
struct DeadlineHeap {
  private typealias Entry = (deadline: Int64, key: RootKeyID)
  private var entries: [Entry] = []

  /// The earliest deadline.
  var first: Duration? { entries.first.map { .nanoseconds($0.deadline) } }

  mutating func insert(_ deadline: Duration, _ key: RootKeyID) {
    entries.append((deadline.wholeNanoseconds, key))
    var child = entries.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard entries[child].deadline < entries[parent].deadline else { return }
      entries.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the earliest out, if its time has come.
  mutating func take(dueAt now: Duration) -> RootKeyID? {
    guard let earliest = entries.first, earliest.deadline <= now.wholeNanoseconds else { return nil }
    let last = entries.removeLast()
    guard !entries.isEmpty else { return earliest.key }
    entries[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
        if entries[child].deadline < entries[least].deadline { least = child }
      }
      guard least != parent else { return earliest.key }
      entries.swapAt(parent, least)
      parent = least
    }
  }

  mutating func removeAll() { entries = [] }
}

extension Duration {
  /// In nanoseconds, those that are begun left out: half of the room.
  var wholeNanoseconds: Int64 { Int64(clamping: attoseconds / 1_000_000_000) }
}
