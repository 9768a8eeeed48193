import KeyCustody
import Synchronization

/// How long somebody has watched over the vaults: what retentions are counted in (DESIGN 9).
///
/// Promised: no setting of the wall clock, in whatever direction and however often, makes this time run faster than
/// the running clock did, nor do many processes that watch at once; so nothing shortens a retention. It may run slower:
/// - While a process lives its running clock counts, in full.
/// - From one process to the next on a machine that was not started anew the time between counts too: both read the
///   same running clock, which nobody can set (``TimeSource/runningOrigin``).
/// - Across a start of the machine, or from one machine to another, nothing counts. A machine that was off for a week
///   keeps what is deleted a week longer.
/// - The total is written at most once a minute, when something is deleted or purged and by ``Vaults/runRotations()``:
///   what was observed since is forgotten when the machine is started anew.
///
/// How: the total changes only by compare-and-set, and whoever adds to it adds the time since it saw the last addition
/// itself. So the stretches that were added never overlap.
final class ObservedTime: Sendable {
  struct Total: Codable, Sendable, Hashable {
    /// Milliseconds.
    var milliseconds: Int64
    /// The clock that ``running`` was read from.
    var origin: String?
    /// That clock when the total was written, in milliseconds.
    var running: Int64
  }
  private struct Memory {
    /// The total last seen, and the running time right afterwards.
    var seen: (revision: StoreRevision, running: Int64)?
    var written: Int64?
  }
  private let view: RecordView<Total>
  private let time: any TimeSource
  private let memory = Mutex(Memory())
  private static let pause: Int64 = 60_000

  init(store: any PolicyStore, time: any TimeSource) {
    view = RecordView(store)
    self.time = time
  }

  /// The time observed so far, in milliseconds, what is not yet written included.
  func now() async throws(KeyCustodyError) -> Int64 {
    await advance()
    let (total, elapsed) = try await look()
    return total.milliseconds + elapsed
  }

  /// Writes down what was observed, if the last time is a minute ago.
  ///
  /// What can't be written now is written the next time.
  func advance() async {
    let start = running()
    let isDue = memory.withLock { memory in
      guard memory.written.map({ start - $0 >= Self.pause }) ?? true else { return false }
      memory.written = start
      return true
    }
    guard isDue else { return }
    do throws(KeyCustodyError) {
      let (found, elapsed) = try await look()
      let now = running()
      let revised = try await view.updateRevised(try Self.path) { (total) throws(KeyCustodyError) in
        guard total == found else { throw KeyCustodyError(.busy, .conflict, "Somebody else wrote the time.") }
        total = Total(
          milliseconds: found.milliseconds + elapsed, origin: self.time.runningOrigin, running: now)
      }
      if let revised { memory.withLock { $0.seen = (revised.revision, now) } }
    } catch {
      memory.withLock { if $0.written == start { $0.written = nil } }
    }
  }

  private static var path: RecordKey {
    get throws(KeyCustodyError) { try RecordKey("observed-time") }
  }

  private func look() async throws(KeyCustodyError) -> (total: Total, elapsed: Int64) {
    let path = try Self.path
    var found = try await view.readRevised(path)
    if found == nil {
      _ = try await view.create(path, Total(milliseconds: 0, origin: time.runningOrigin, running: running()))
      found = try await view.readRevised(path)
    }
    guard let found else {
      throw KeyCustodyError(.busy, .conflict, "The observed time was just removed.", retryAfter: .milliseconds(50))
    }
    // Read after the record: the time counted begins after the record was written.
    let now = running()
    if let origin = found.value.origin, origin == time.runningOrigin {
      return (found.value, max(0, now - found.value.running))
    }
    let since = memory.withLock { memory in
      if let seen = memory.seen, seen.revision == found.revision { return seen.running }
      memory.seen = (found.revision, now)
      return now
    }
    return (found.value, max(0, now - since))
  }

  private func running() -> Int64 {
    let parts = time.running().components
    return parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
  }
}
