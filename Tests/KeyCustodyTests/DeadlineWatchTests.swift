import KeyCustody
import KeyCustodyTesting
import Synchronization
import Testing

/// One timer for many deadlines.
struct DeadlineWatchTests {
  private final class Told: Sendable {
    let names = Mutex<[String]>([])
    func tell(_ name: String) { names.withLock { $0.append(name) } }
    var all: [String] { names.withLock { $0 } }
  }

  @Test("Each is told at its own deadline, whoever came first; who was removed is never told")
  func deadlines() async throws {
    let clock = ManualClock()
    let watch = DeadlineWatch(clock)
    let told = Told()
    let start = clock.running()
    _ = watch.add(start + .seconds(20)) { told.tell("late") }
    _ = watch.add(start + .seconds(10)) { told.tell("early") }
    watch.remove(watch.add(start + .seconds(5)) { told.tell("removed") })
    clock.advance(by: .seconds(10))
    while told.all.isEmpty { await Task.yield() }
    #expect(told.all == ["early"])
    clock.advance(by: .seconds(10))
    while told.all.count < 2 { await Task.yield() }
    #expect(told.all == ["early", "late"])
    // One whose time is over already is told all the same.
    _ = watch.add(start) { told.tell("over") }
    while told.all.count < 3 { await Task.yield() }
    #expect(told.all.last == "over")
  }

  @Test("Thousands that come in the order of their deadlines need one timer")
  func oneTimer() async throws {
    let clock = ManualClock()
    let watch = DeadlineWatch(clock)
    let start = clock.running()
    for number in 1...5000 { watch.remove(watch.add(start + .seconds(5 + number)) {}) }
    while clock.waiterCount == 0 { await Task.yield() }
    #expect(clock.waiterCount == 1)
  }
}
