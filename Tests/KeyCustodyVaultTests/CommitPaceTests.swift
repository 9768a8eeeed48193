import Foundation
import KeyCustody
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyVault

/// For whom a write of the audit log waits.
struct CommitPaceTests {
  @Test("Whoever is alone never waits; where several came at once, as long as their write took, at most a millisecond")
  func pace() {
    var pace = CommitPace()
    let now = Duration.seconds(100)
    #expect(pace.delay(at: now) == nil)
    pace.wrote(for: 2, in: .microseconds(300), at: now)
    #expect(pace.delay(at: now) == .microseconds(300))
    #expect(pace.delay(at: now + .milliseconds(9)) == .microseconds(300))
    #expect(pace.delay(at: now + .milliseconds(10)) == nil, "long ago")
    pace.wrote(for: 16, in: .seconds(2), at: now)
    #expect(pace.delay(at: now) == .milliseconds(1))
    pace.wrote(for: 1, in: .seconds(2), at: now)
    #expect(pace.delay(at: now) == nil)
    // A clock that stands still, or went back.
    pace.wrote(for: 16, in: .zero, at: now)
    #expect(pace.delay(at: now) == nil)
    pace.wrote(for: 16, in: .seconds(-1), at: now)
    #expect(pace.delay(at: now) == nil)
  }

  @Test("V11: a write waits for others after one that several shared, and those that come meanwhile share it")
  func company() async throws {
    let bench = Bench()
    let worker = try BlockingWorker()
    // Two at once: their write waits for nobody, and takes a while.
    async let first: Void = bench.queue.wait(for: [AuditBench.event("1")]) {}
    async let second: Void = bench.queue.wait(for: [AuditBench.event("2")]) {}
    while bench.queue.count < 2 { await Task.yield() }
    await worker.run { bench.drain() }
    _ = try await (first, second)
    #expect(bench.batches == [2] && bench.pauses == [])

    // The next one waits, and somebody comes.
    bench.guest.withLock { $0 = "4" }
    async let third: Void = bench.queue.wait(for: [AuditBench.event("3")]) {}
    while bench.queue.count < 1 { await Task.yield() }
    await worker.run { bench.drain() }
    try await third
    #expect(bench.batches == [2, 2] && bench.pauses == [.microseconds(400)])

    // Nobody comes: that one waited in vain, and the one after it does not wait.
    for name in ["5", "6"] {
      async let alone: Void = bench.queue.wait(for: [AuditBench.event(name)]) {}
      while bench.queue.count < 1 { await Task.yield() }
      await worker.run { bench.drain() }
      try await alone
    }
    #expect(bench.batches == [2, 2, 1, 1] && bench.pauses.count == 2)
    bench.queue.end()
  }

  /// A queue whose writes take 400 µs by its clock, and what it did.
  private final class Bench: Sendable {
    private struct Done {
      var pauses: [Duration] = []
      var batches: [Int] = []
    }
    private let done = Mutex(Done())
    private let clock = ManualClock()
    /// Comes while a write waits.
    let guest = Mutex<String?>(nil)
    private let made = Mutex<AuditQueue?>(nil)

    var queue: AuditQueue {
      made.withLock { made in
        if let made { return made }
        let stopwatch = CommitStopwatch(
          now: { [clock] in clock.running() }, pause: { [unowned self] duration in paused(duration) })
        let queue = AuditQueue(time: clock, patience: .seconds(5), stopwatch: stopwatch)
        made = queue
        return queue
      }
    }
    var pauses: [Duration] { done.withLock { $0.pauses } }
    var batches: [Int] { done.withLock { $0.batches } }

    func drain() {
      queue.drain { events in
        clock.advance(by: .microseconds(400))
        done.withLock { $0.batches.append(events.count) }
      }
    }

    /// On a thread that may block.
    private func paused(_ duration: Duration) {
      done.withLock { $0.pauses.append(duration) }
      guard let name = guest.withLock({ guest in exchange(&guest, with: nil) }) else { return }
      let queue = queue
      let count = queue.count
      Task { try await queue.wait(for: [AuditBench.event(name)]) {} }
      while queue.count == count { sched_yield() }
    }
  }
}
