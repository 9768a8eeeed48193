import KeyCustody

/// The changes that one watcher has not been told yet, asked for one at a time.
///
/// Nothing is queued for a slow reader: each question is answered from the table as it is then, so a change is never
/// lost, only intermediate states are.
actor ChangeFeed {
  private var since: StoreRevision
  private var pending: ArraySlice<StoreChange> = []
  private var isFresh = true
  private var wakeups: AsyncStream<Void>.Iterator
  private let read: @Sendable (StoreRevision) -> (changes: [StoreChange], revision: StoreRevision)

  /// A feed of changes after a revision.
  ///
  /// `wakeups` tells that there may be more, and ends when the store closes.
  init(
    since: StoreRevision, wakeups: AsyncStream<Void>,
    read: @escaping @Sendable (StoreRevision) -> (changes: [StoreChange], revision: StoreRevision)
  ) {
    self.since = since
    self.wakeups = wakeups.makeAsyncIterator()
    self.read = read
  }

  /// The next change; `nil` when the store was closed, or the reader was cancelled.
  func next() async -> StoreChange? {
    while pending.isEmpty {
      if isFresh {
        isFresh = false
      } else {
        var wakeups = wakeups
        guard await wakeups.next(isolation: self) != nil else { return nil }
        self.wakeups = wakeups
      }
      let news = read(since)
      pending = news.changes[...]
      since = max(since, news.revision)
    }
    return pending.popFirst()
  }
}
