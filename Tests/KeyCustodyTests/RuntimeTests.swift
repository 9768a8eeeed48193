import Glibc
import KeyCustody
import KeyCustodyTesting
import Synchronization
import Testing

/// Counts.
final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func increment() { count.withLock { $0 += 1 } }
}

@Suite("Timestamps")
struct TimestampTests {
  @Test(
    "Seconds are rounded down, before 1970 too",
    arguments: [(0, 0), (1, 0), (999, 0), (1000, 1), (-1, -1), (-1000, -1), (-1001, -2)])
  func seconds(_ milliseconds: Int64, _ seconds: Int64) {
    #expect(Timestamp(milliseconds: milliseconds).seconds == seconds)
  }

  @Test("Durations are added to the millisecond")
  func adding() {
    let start = Timestamp(seconds: 10)
    #expect(start + .milliseconds(1500) == Timestamp(milliseconds: 11_500))
    #expect(start + .seconds(-11) == Timestamp(seconds: -1))
    #expect(start + .milliseconds(-1) == Timestamp(milliseconds: 9999))
    #expect(start + .microseconds(999) == start)
    #expect(start + .zero == start)
  }

  @Test("Moments beyond what 64 bits hold are the last ones, not a crash")
  func extremes() {
    #expect(Timestamp(seconds: .max) == Timestamp(milliseconds: .max))
    #expect(Timestamp(seconds: .min) == Timestamp(milliseconds: .min))
    #expect(Timestamp(milliseconds: .max) + .seconds(1) == Timestamp(milliseconds: .max))
    #expect(Timestamp(milliseconds: .min) + .seconds(-1) == Timestamp(milliseconds: .min))
    #expect(Timestamp(seconds: 0) + .seconds(Int64.max) == Timestamp(milliseconds: .max))
    #expect(Timestamp(seconds: 0) + .seconds(Int64.min) == Timestamp(milliseconds: .min))
  }

  @Test("They are ordered, and stand in JSON as the bare number")
  func orderedAndCoded() throws {
    #expect(Timestamp(milliseconds: 1) < Timestamp(milliseconds: 2))
    #expect(try json([Timestamp(milliseconds: 1_767_225_600_123)]) == "[1767225600123]")
    #expect(try roundTrip(Timestamp(milliseconds: -5)) == Timestamp(milliseconds: -5))
  }
}

@Suite("System time and randomness")
struct SystemSourcesTests {
  @Test("Wall time is the machine's, running time moves forward")
  func clock() async throws {
    let time = SystemTime()
    var spec = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &spec)
    #expect(abs(time.now().seconds - Int64(spec.tv_sec)) <= 2)
    let before = time.running()
    try await time.wait(until: before + .milliseconds(2))
    #expect(time.running() >= before + .milliseconds(2))
    try await time.wait(until: .zero)
  }

  @Test("Running time never runs ahead of the machine's, never back, and is behind by ticks at most, whoever asks")
  func ticks() async {
    func exact() -> Duration {
      var spec = timespec()
      unsafe clock_gettime(CLOCK_BOOTTIME, &spec)
      return .seconds(Int64(spec.tv_sec)) + .nanoseconds(Int64(spec.tv_nsec))
    }
    let faults = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var (last, faults) = (Duration.zero, 0)
          for _ in 0..<50_000 {
            let before = exact()
            let running = SystemTime().running()
            // A tick is 10 ms at most; the rest is for machines that are busy with others.
            if running > exact() || running < before - .milliseconds(250) || running < last { faults += 1 }
            last = running
          }
          return faults
        }
      }
      return await group.reduce(0, +)
    }
    #expect(faults == 0)
  }

  @Test("A cancelled wait ends")
  func cancelled() async {
    let task = Task { try await SystemTime().wait(until: SystemTime().running() + .seconds(3600)) }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test("Random bytes of every length differ")
  func random() throws {
    for count in 0...40 { #expect(try SystemRandom().bytes(count).count == count) }
    let draws = try (0..<50).map { _ in try SystemRandom().bytes(16) }
    #expect(Set(draws).count == 50)
    // A byte that is never written stays zero in every draw.
    let long = try (0..<8).map { _ in try SystemRandom().bytes(37) }
    for index in 0..<37 { #expect(long.contains { $0[index] != 0 }, "byte \(index)") }
    let secret = try SystemRandom().secret(32)
    let isZero = secret.isEqual(to: SecretBytes(copying: [UInt8](repeating: 0, count: 32)))
    #expect(!isZero)
  }

  @Test("Relative paths start at the base directory")
  func paths() {
    let environment = RuntimeEnvironment(baseDirectory: "/etc/keycustody")
    #expect(environment.path("keys") == "/etc/keycustody/keys")
    #expect(environment.path("/var/keys") == "/var/keys")
    #expect(environment.variables.isEmpty)
  }
}

@Suite("Errors")
struct KeyCustodyErrorTests {
  @Test("What a caller may do follows from the code alone", arguments: KeyCustodyError.Code.allCases)
  func retryClasses(_ code: KeyCustodyError.Code) {
    let due: KeyCustodyError.RetryClass =
      switch code {
      case .unavailable, .busy: .later
      case .timeout: .afterChecking
      case .credentialRejected, .disabled, .denied: .afterOperator
      default: .never
      }
    #expect(KeyCustodyError(code, .internalFault, "x", retryAfter: .seconds(1)).retryClass == due)
  }

  @Test("Two errors are equal when code and reason are")
  func equality() {
    let error = KeyCustodyError(.notFound, .keyVersionUnknown, "one", remedy: "a", diagnostic: "x")
    #expect(error == KeyCustodyError(.notFound, .keyVersionUnknown, "two"))
    #expect(error != KeyCustodyError(.unavailable, .keyVersionUnknown, "one"))
    #expect(error != KeyCustodyError(.notFound, .closed, "one"))
  }

  @Test("Native diagnostics stand in the debug description only")
  func diagnostics() {
    let error = KeyCustodyError(
      .unavailable, .unreachable, "No token.", remedy: "Insert it.", diagnostic: "C_OpenSession CKR_DEVICE_REMOVED")
    #expect(error.description == "unavailable (unreachable): No token. Insert it.")
    #expect("\(error)" == error.description)
    #expect(
      error.debugDescription == "unavailable (unreachable): No token. Insert it. [C_OpenSession CKR_DEVICE_REMOVED]")
    #expect(KeyCustodyError(.fault, .internalFault, "Oh.").debugDescription == "fault (internal-fault): Oh.")
  }
}

@Suite("Secret references")
struct SecretReferenceTests {
  /// A file with this content, for the length of `body`.
  private func withFile(_ content: [UInt8], _ body: (String) throws -> Void) throws {
    var name = Array(("/tmp/key-custody-secret-" + String(repeating: "X", count: 6)).utf8CString)
    let file = unsafe mkstemp(&name)
    try #require(file >= 0)
    let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      close(file)
      unsafe unlink(path)
    }
    let written = unsafe write(file, content, content.count)
    try #require(written == content.count)
    try body(path)
  }

  private func section(_ values: [String: ConfigurationValue]) -> ConfigurationSection {
    KeyCustodyConfiguration(values).root
  }

  @Test("A file's secret is its content without one line break at its end")
  func file() throws {
    for (content, due) in [("1234", "1234"), ("1234\n", "1234"), ("1234\n\n", "1234\n"), (" 12\n34 ", " 12\n34 ")] {
      try withFile([UInt8](utf8: content)) { path in
        let secret = try SecretReference.file(path).load(RuntimeEnvironment())
        let isEqual = secret.isEqual(to: SecretBytes(copying: [UInt8](utf8: due)))
        #expect(isEqual, "\(content)")
      }
    }
  }

  @Test("A secret may have 64 KiB and no more, and not nothing")
  func sizes() throws {
    try withFile([UInt8](repeating: 7, count: 64 << 10)) { path in
      let count = try SecretReference.read(path).count
      #expect(count == 64 << 10)
    }
    for content in [[], [0x0a], [UInt8](repeating: 7, count: 64 << 10 + 1)] as [[UInt8]] {
      try withFile(content) { path in
        #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { _ = try SecretReference.read(path) }
      }
    }
  }

  @Test("A file that is not there is unavailable, and the remedy says how to make it")
  func missingFile() {
    let error = #expect(throws: KeyCustodyError.self) { _ = try SecretReference.read("/nonexistent/pin") }
    #expect(error == KeyCustodyError(.unavailable, .unreachable, ""))
    #expect(error?.message.contains("/nonexistent/pin") == true)
    #expect(error?.remedy.contains("600") == true)
  }

  @Test("A variable is read from those handed over, never from the process")
  func variables() throws {
    let reference = SecretReference.environment("PATH")
    #expect(throws: KeyCustodyError(.unavailable, .unreachable, "")) { _ = try reference.load(RuntimeEnvironment()) }
    let secret = try reference.load(RuntimeEnvironment(variables: ["PATH": "1234"]))
    let isEqual = secret.isEqual(to: SecretBytes(copying: [UInt8](utf8: "1234")))
    #expect(isEqual)
  }

  @Test("A section gives a file, a variable or neither, never both")
  func sections() throws {
    let environment = RuntimeEnvironment(baseDirectory: "/base")
    #expect(try SecretReference("pin", in: section(["pinFile": "p"]), environment: environment) == .file("/base/p"))
    let variable = try SecretReference("pin", in: section(["pinEnvironment": "PIN"]), environment: environment)
    #expect(variable == .environment("PIN"))
    #expect(try SecretReference("pin", in: section([:]), environment: environment) == nil)
    #expect(throws: KeyCustodyError(.invalidInput, .badConfigurationValue, "")) {
      _ = try SecretReference("pin", in: section(["pinFile": "p", "pinEnvironment": "P"]), environment: environment)
    }
  }
}
