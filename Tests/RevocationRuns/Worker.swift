import Foundation
import KeyCustody
import KeyCustodyServices
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A process of the service: it opens values of every customer without a pause, and does as it is told.
final class Worker: Sendable {
  private let deployment: Deployment
  private let custody: KeyCustody
  private let uses = Mutex([Use](repeating: Use(), count: Deployment.customers))
  /// Two for each customer.
  private static let tasks = 2
  /// As a client does that was refused.
  private static let pause = Duration.milliseconds(5)

  init(_ folder: String) async throws {
    deployment = Deployment(at: folder)
    custody = try await deployment.open()
  }

  /// Runs until there are no more instructions.
  func run() async throws {
    let instructions = AsyncStream<Instruction> { continuation in
      // A thread of its own: reading blocks.
      Thread {
        while let line = readLine() {
          guard let instruction = try? JSONDecoder().decode(Instruction.self, from: Data(line.utf8)) else { break }
          continuation.yield(instruction)
        }
        continuation.finish()
      }.start()
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for customer in 0..<Deployment.customers {
        let resource = try await custody.resource(try Deployment.resource(customer))
        let sealed = deployment.value(customer)
        for _ in 0..<Self.tasks { group.addTask { await self.use(resource, sealed, customer) } }
      }
      // Ready.
      try say(uses.withLock { $0 })
      for await instruction in instructions { try await follow(instruction) }
      group.cancelAll()
    }
    await custody.close()
  }

  private func follow(_ instruction: Instruction) async throws {
    switch instruction {
    case .revoke(let customer):
      try await insist { try await Deployment.revoke(customer, in: custody) }
      try answer()
    case .restore(let customer):
      try await insist { try await Deployment.grant(customer, in: custody) }
      try answer()
    case .tell: try say(uses.withLock { $0 })
    }
  }

  /// Makes a change, again and again where the database was away: to make one of these twice is to make it once.
  private func insist(_ change: () async throws -> Void) async throws {
    for attempt in 1... {
      do { return try await change() } catch let error as KeyCustodyError {
        guard [.unavailable, .timeout, .busy].contains(error.code), attempt < 1000 else { throw error }
        // Answered at once while the database is away: asked again soon, and not all the time.
        try await Task.sleep(for: Self.pause * 4)
      }
    }
  }

  private func answer() throws {
    let (time, now) = (monotonicTime(), RuntimeEnvironment().time.now())
    let left = max(0, custody.effectiveEverywhere().milliseconds - now.milliseconds)
    try say(Answer(time: time, promised: time + UInt64(left) * 1_000_000))
  }

  private func say(_ what: some Encodable) throws {
    // Not by `print`: what it keeps is written by flushing, which waits for whoever reads.
    try FileHandle.standardOutput.write(contentsOf: try JSONEncoder().encode(what) + Data("\n".utf8))
  }

  private func use(_ resource: ProtectedResource, _ sealed: [UInt8], _ customer: Int) async {
    while !Task.isCancelled {
      let begin = monotonicTime()
      do throws(KeyCustodyError) {
        guard try await resource.open(sealed, as: "value") == Deployment.content else { exit(3) }
        uses.withLock { uses in
          if uses[customer].refusals > 0 { uses[customer].regained = monotonicTime() }
          uses[customer].refusals = 0
          uses[customer].successes += 1
          uses[customer].last = max(begin, uses[customer].last)
        }
        await Task.yield()
      } catch {
        uses.withLock { uses in
          uses[customer].refusals += 1
          uses[customer].allRefusals += 1
        }
        // A client that was refused waits a little, too; cancelled, it ends above.
        try? await Task.sleep(for: Self.pause)
      }
    }
  }
}

/// The machine's monotonic clock, in nanoseconds.
func monotonicTime() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
