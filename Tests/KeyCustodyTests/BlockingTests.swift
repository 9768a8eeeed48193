import Dispatch
import Glibc
import KeyCustody
import Synchronization
import Testing

@Suite("Blocking work", .timeLimit(.minutes(5)))
struct BlockingTests {
  @Test("Work runs on one thread of its own, not on the caller's")
  func ownThread() async throws {
    let worker = try BlockingWorker()
    let here = currentThread()
    let first = await worker.run { currentThread() }
    #expect(first != here)
    for _ in 0..<20 {
      await Task.yield()
      let there = await worker.run { currentThread() }
      #expect(there == first)
      #expect(currentThread() != first)
    }
  }

  @Test("RELIABILITY 3.38: a C library that writes to a daemon that has gone gets an error, and the process lives")
  func brokenPipe() async throws {
    let code = try await BlockingWorker().run { () -> Int32 in
      var ends: [Int32] = [0, 0]
      guard unsafe pipe(&ends) == 0 else { return -1 }
      close(ends[0])
      defer { close(ends[1]) }
      return unsafe write(ends[1], [1], 1) == -1 ? errno : 0
    }
    #expect(code == EPIPE)
  }

  @Test("Two workers have two threads")
  func twoThreads() async throws {
    let (one, two) = (try BlockingWorker(), try BlockingWorker())
    let (left, right) = (await one.run { currentThread() }, await two.run { currentThread() })
    #expect(left != right)
  }

  @Test("Workers that block leave Swift's own threads free")
  func poolStaysFree() async throws {
    // More than there are processors: on the cooperative pool, nobody would be left to open the gates.
    let gates = (0..<32).map { _ in Gate() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for gate in gates {
        group.addTask { await (try BlockingWorker()).run { gate.wait() } }
      }
      for gate in gates {
        group.addTask { gate.open() }
      }
      try await group.waitForAll()
    }
  }

  @Test("Work of one worker never overlaps")
  func oneAtATime() async throws {
    let worker = try BlockingWorker()
    let record = Overlaps()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<50 {
        group.addTask {
          await worker.run {
            record.enter()
            sched_yield()
            record.leave()
          }
        }
      }
    }
    #expect(record.count == 0)
  }

  @Test("Errors keep their type, and results may be secrets")
  func errorsAndSecrets() async throws {
    let worker = try BlockingWorker()
    let failure = KeyCustodyError(.busy, .unreachable, "Later.")
    await #expect(throws: failure) {
      try await worker.run { () throws(KeyCustodyError) in throw failure }
    }
    let secret = await worker.run { SecretBytes(copying: [1, 2, 3]) }
    let isEqual = secret.isEqual(to: SecretBytes(copying: [1, 2, 3]))
    #expect(isEqual)
  }

  @Test("The thread ends with its owner")
  func threadEnds() async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      Task {
        do {
          await (try BlockingWorker()).run { ThreadEnd.announce { continuation.resume() } }
        } catch {
          continuation.resume(throwing: error)
        }
      }
    }
  }
}

private func currentThread() -> UInt { UInt(pthread_self()) }

/// Counts how often one piece of work ran beside another.
private final class Overlaps: Sendable {
  private let state = Mutex((busy: 0, overlaps: 0))
  var count: Int { state.withLock { $0.overlaps } }
  func enter() {
    state.withLock { state in
      state.busy += 1
      if state.busy > 1 { state.overlaps += 1 }
    }
  }
  func leave() { state.withLock { $0.busy -= 1 } }
}

/// A door that a thread can stand before.
private final class Gate: Sendable {
  private let semaphore = DispatchSemaphore(value: 0)
  func open() { semaphore.signal() }
  func wait() {
    semaphore.wait()
    // Open stays open, for whoever comes next.
    semaphore.signal()
  }
}

/// Says when the thread that asked for it ends: the system calls a key's destructor then.
private enum ThreadEnd {
  private final class Box: Sendable {
    let action: @Sendable () -> Void
    init(_ action: @escaping @Sendable () -> Void) { self.action = action }
  }

  static func announce(_ action: @escaping @Sendable () -> Void) {
    var key = pthread_key_t()
    unsafe pthread_key_create(&key) { value in
      guard let value = unsafe value else { return }
      unsafe Unmanaged<Box>.fromOpaque(value).takeRetainedValue().action()
    }
    unsafe pthread_setspecific(key, Unmanaged.passRetained(Box(action)).toOpaque())
  }
}
