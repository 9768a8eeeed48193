import Synchronization
import Testing

@testable import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Secrets in the copies that fork makes of a process.
///
/// Each in a process of its own, whose threads are known.
struct ForkedSecretsTests {
  @Test("A forked child never waits for a lock that another thread of its parent held")
  func noDeadlock() async {
    await #expect(processExitsWith: .success) {
      let isOver = Churn()
      let threads = try (0..<3).map { _ in try DedicatedThread() }
      for thread in threads {
        thread.perform { while !isOver.isSet { _ = SecretBytes(count: 32) { _ in }.count } }
      }
      defer { isOver.set() }
      let inherited = SecretBytes(copying: [1, 2, 3])
      for _ in 0..<200 {
        let status = try ForkedSecretsTests.inChild {
          let own = inherited.copy()
          return own.isEqual(to: inherited) ? 0 : 1
        }
        try #require(status == 0)
      }
    }
  }

  @Test("A forked child's report counts what it inherited as not locked, and what it takes itself as what it is")
  func report() async {
    await #expect(processExitsWith: .success) {
      var small: SecretBytes? = SecretBytes(copying: [1, 2, 3])
      var large: SecretBytes? = SecretBytes(count: 100_000) { _ in }
      let before = SecretMemory.report
      #expect(ForkedSecretsTests.lockedKilobytes().map { $0 * 1024 >= before.lockedBytes } == true)
      let status = try ForkedSecretsTests.inChild {
        let start = SecretMemory.report
        guard start.lockedSecrets == 0, start.lockedBytes == 0 else { return 1 }
        guard start.ordinarySecrets == before.lockedSecrets + before.ordinarySecrets else { return 2 }
        do {
          let own = SecretBytes(count: 32) { _ in }
          let after = SecretMemory.report
          let isCounted = after.lockedSecrets + after.ordinarySecrets == start.ordinarySecrets + 1
          guard own.count == 32, isCounted else { return 3 }
          guard (ForkedSecretsTests.lockedKilobytes() ?? 0) * 1024 >= after.lockedBytes else { return 4 }
          if before.lockedSecrets > 0, after.lockedSecrets == 0 { return 5 }
        }
        // What it inherited it can use and clear.
        guard small?.withBytes({ bytes in bytes[2] }) == 3 else { return 6 }
        small = nil
        large = nil
        guard SecretMemory.report.ordinarySecrets == start.ordinarySecrets - 2 else { return 7 }
        return ForkedSecretsTests.grandchild()
      }
      #expect(status == 0, "\(status >> 8)")
      #expect(SecretMemory.report == before, "the parent's is untouched")
      #expect(small?.count == 3 && large?.count == 100_000)
    }
  }

  /// A child's child knows as much.
  private static func grandchild() -> Int32 {
    let own = SecretBytes(count: 32) { _ in }
    let known = SecretMemory.report
    guard
      let status = try? inChild({
        let report = SecretMemory.report
        let isRight = report.ordinarySecrets == known.lockedSecrets + known.ordinarySecrets && own.count == 32
        return isRight && report.lockedBytes == 0 ? 0 : 9
      })
    else { return 8 }
    return status >> 8
  }

  /// What the system says is locked of this process.
  private static func lockedKilobytes() -> Int? {
    let file = unsafe open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = unsafe read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    let label = Array("VmLck:".utf8)
    guard let start = (0..<(count - label.count)).first(where: { Array(bytes[$0..<($0 + label.count)]) == label })
    else { return nil }
    let digits = bytes[(start + label.count)...].drop { $0 == 0x20 || $0 == 0x09 }.prefix { (0x30...0x39).contains($0) }
    return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }

  /// Runs `body` in a copy of this process that fork makes, and answers how it ended, as waitpid tells.
  private static func inChild(_ body: () -> Int32) throws -> Int32 {
    typealias Fork = @convention(c) () -> pid_t
    // Swift hides `fork`, since a child of many threads may do little; this one uses secrets and ends.
    let symbol = try unsafe #require(dlsym(nil, "fork"))
    let fork = unsafe unsafeBitCast(symbol, to: Fork.self)
    let child = fork()
    if child == 0 {
      // One that waits for ever is ended, and its parent sees the signal.
      alarm(20)
      _exit(body())
    }
    try #require(child > 0)
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
    return status
  }
}

/// Whether threads are to end.
private final class Churn: Sendable {
  private let state = Atomic(false)
  var isSet: Bool { state.load(ordering: .relaxed) }
  func set() { state.store(true, ordering: .relaxed) }
}
