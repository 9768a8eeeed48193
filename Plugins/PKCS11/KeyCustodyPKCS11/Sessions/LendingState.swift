import KeyCustody

/// Who holds what, and who waits: the rules of a pool as a plain value.
struct LendingState<Item, Waiter> {
  /// What a newcomer is told.
  enum Answer {
    /// Take this.
    case lend(Item)
    /// Wait; the waiter is resumed later.
    case wait
    /// Go away.
    case refuse(KeyCustodyError)
  }

  private var idle: [Item]
  private var queue: [(ticket: Int, waiter: Waiter)] = []
  private let queueLimit: Int
  private var isClosed = false
  /// How many are lent now.
  private(set) var lent = 0

  init(idle: [Item], queueLimit: Int) {
    self.idle = idle
    self.queueLimit = queueLimit
  }

  /// Takes an item that nobody has; `nil` when there is none, or lending has ended.
  mutating func takeIdle() -> Item? {
    guard !isClosed, let item = idle.popLast() else { return nil }
    lent += 1
    return item
  }

  /// Asks for an item.
  mutating func enter(_ ticket: Int, _ waiter: Waiter) -> Answer {
    if isClosed { return .refuse(LendingClosed.error) }
    if let item = takeIdle() { return .lend(item) }
    guard queue.count < queueLimit else {
      return .refuse(
        KeyCustodyError(
          .busy, .init("queue-full"), "\(queue.count) calls wait for a session of the token already.",
          remedy: "Raise 'sessions' if the token allows it, or send fewer calls.", retryAfter: .milliseconds(250)))
    }
    queue.append((ticket, waiter))
    return .wait
  }

  /// Stops waiting; `nil` when it waits no longer.
  mutating func leave(_ ticket: Int) -> Waiter? {
    guard let index = queue.firstIndex(where: { $0.ticket == ticket }) else { return nil }
    return queue.remove(at: index).waiter
  }

  /// Takes an item back; the first in the queue, if any, gets it.
  mutating func give(back item: Item) -> Waiter? {
    if queue.isEmpty {
      lent -= 1
      idle.append(item)
      return nil
    }
    return queue.removeFirst().waiter
  }

  /// Lends nothing more; answers those who waited.
  mutating func close() -> [Waiter] {
    isClosed = true
    defer { queue = [] }
    return queue.map(\.waiter)
  }
}

/// The one answer after closing.
enum LendingClosed {
  static let error = KeyCustodyError(
    .unavailable, .closed, "This backend was closed.", remedy: "Open it again.")
}
