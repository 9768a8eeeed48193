import KeyCustody
import Synchronization

/// Follows the changes that other processes make to a shared policy store, for as long as it is not closed.
///
/// While the store can't be watched nothing is told; leases end by their deadlines then. Once it can be watched again,
/// what was missed is told first.
final class StoreWatch: Sendable {
  private let store: any PolicyStore
  private let time: any TimeSource
  private let report: @Sendable (StoreChange) -> Void
  private let task = Mutex<Task<Void, Never>?>(nil)
  /// Between two attempts to watch.
  private static var pause: Duration { .seconds(1) }

  /// A watch that tells of every change after `revision`, once each, in order.
  init(
    _ store: any PolicyStore, since revision: StoreRevision, time: any TimeSource,
    report: @escaping @Sendable (StoreChange) -> Void
  ) {
    self.store = store
    self.time = time
    self.report = report
    let watching = Task { [self] in await follow(since: revision) }
    task.withLock { $0 = watching }
  }

  /// Ends it.
  func close() {
    let watching = task.withLock { task in
      defer { task = nil }
      return task
    }
    watching?.cancel()
  }

  private func follow(since first: StoreRevision) async {
    var last = first
    while !Task.isCancelled {
      if let changes = try? await store.watch(since: last) {
        for await change in changes {
          last = max(last, change.revision)
          report(change)
        }
      }
      // It ended: the store lost its backend, or was closed.
      do { try await time.wait(until: time.running() + Self.pause) } catch { return }
    }
  }
}

extension StoreChange {
  /// The revision that the change made.
  fileprivate var revision: StoreRevision {
    switch self {
    case .put(let record): record.revision
    case .deleted(_, let revision), .resynchronize(let revision): revision
    }
  }
}
