import KeyCustody
import KeyCustodyTestSupport
import Synchronization
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What happened when, under load.
final class Timeline: Sendable {
  private struct State {
    var isOver = false
    var lines: [String] = []
    var outcomes: [Int: [String: Int]] = [:]
    var totals: [String: Int] = [:]
    var waiters: [Waiter] = []
  }
  private struct Waiter {
    let outcome: String
    let goal: Int
    let continuation: CheckedContinuation<Void, Never>
  }
  private let state = Mutex(State())
  private let start = ContinuousClock.now

  private var milliseconds: Int { Int((ContinuousClock.now - start) / .milliseconds(1)) }

  /// Whether the clients are to end.
  var isOver: Bool { state.withLock { $0.isOver } }
  func end() { state.withLock { $0.isOver = true } }

  func note(_ what: String) { state.withLock { $0.lines.append("\(milliseconds) ms  \(what)") } }

  /// Counts an answer in its tenth of a second.
  func count(_ outcome: String) {
    let woken = state.withLock { state in
      state.outcomes[milliseconds / 100, default: [:]][outcome, default: 0] += 1
      state.totals[outcome, default: 0] += 1
      let total = state.totals[outcome, default: 0]
      let woken = state.waiters.filter { $0.outcome == outcome && $0.goal <= total }
      state.waiters.removeAll { $0.outcome == outcome && $0.goal <= total }
      return woken
    }
    for waiter in woken { waiter.continuation.resume() }
  }

  /// Waits until there were so many answers of a kind.
  func wait(for goal: Int, _ outcome: String) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        guard state.totals[outcome, default: 0] < goal else { return true }
        state.waiters.append(Waiter(outcome: outcome, goal: goal, continuation: continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }

  /// How many answers of a kind there were.
  func total(_ outcome: String) -> Int { state.withLock { $0.totals[outcome, default: 0] } }
  /// All kinds of answers.
  var kinds: Set<String> { state.withLock { Set($0.totals.keys) } }

  func print() {
    let (lines, outcomes) = state.withLock { ($0.lines, $0.outcomes) }
    Swift.print("A token's folder moved away under load, and back:")
    for line in lines { Swift.print("  \(line)") }
    for (tenth, counts) in outcomes.sorted(by: { $0.key < $1.key }) {
      let text = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
      Swift.print("  \(tenth * 100)-\(tenth * 100 + 99) ms: \(text)")
    }
  }
}

@Suite("A token that vanishes under load")
struct VanishingTests {
  @Test("Its keys are out of reach, never 'not found'; when it is back, so is service, and nothing was restarted")
  func vanishes() async throws {
    let copy = try ModuleCopy()
    let token = try await SoftHSM.makeToken()
    let provider = try await Backends.keys(token, sessions: 4, changing: copy.settings(token))
    let key = try await provider.make(.aes(bits: 256), .wrapping)
    let secret = SecretBox(copying: try SystemRandom().secret(32))
    let wrapped = try await provider.wrap(secret.bytes, key, .aes256KW)
    let timeline = Timeline()
    let events = provider.events()
    let watching = Task {
      for await event in events { timeline.note("event: \(event)") }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<8 {
        group.addTask {
          while !timeline.isOver {
            await Self.call(provider, client, key, wrapped, secret, timeline)
          }
        }
      }
      group.addTask {
        defer { timeline.end() }
        try await Self.moveAwayAndBack(token, provider, timeline)
      }
      try await group.waitForAll()
    }
    await provider.close()
    await watching.value
    timeline.print()
    #expect(timeline.kinds.isSubset(of: ["served", "unavailable"]), "\(timeline.kinds)")
    #expect(timeline.total("served") > 0 && timeline.total("unavailable") > 0)
  }

  /// One call of a client: half use the key, half ask for it as if for the first time.
  private static func call(
    _ provider: PKCS11KeyProvider, _ client: Int, _ key: KeyDescription, _ wrapped: [UInt8], _ secret: SecretBox,
    _ timeline: Timeline
  ) async {
    do throws(KeyCustodyError) {
      if client.isMultiple(of: 2) {
        let isSame = try await provider.unwrap(wrapped, key, .aes256KW).isEqual(to: secret.bytes)
        timeline.count(isSame ? "served" : "wrong")
      } else {
        timeline.count(try await provider.describe(key.version, context: Backends.context) == key ? "served" : "wrong")
      }
    } catch {
      timeline.count(error.code.rawValue)
      // As a client does: the error says how long to stay away.
      let pause = min(error.retryAfter ?? .milliseconds(10), .milliseconds(100))
      try? await ContinuousClock().sleep(for: pause)
    }
  }

  private static func moveAwayAndBack(
    _ token: SoftHSMToken, _ provider: PKCS11KeyProvider, _ timeline: Timeline
  ) async throws {
    let elsewhere = try TemporaryFolder()
    let folder = try #require(token.folder)
    await timeline.wait(for: 500, "served")
    try #require(unsafe rename(folder, elsewhere.appending("token")) == 0)
    timeline.note("the folder is away")
    // Sessions go on with what the module has in memory; a question for another key makes it look.
    _ = try? await provider.describe(try Backends.name(), context: Backends.context)
    await timeline.wait(for: 20, "unavailable")
    try #require(unsafe rename(elsewhere.appending("token"), folder) == 0)
    timeline.note("the folder is back")
    let served = timeline.total("served")
    await timeline.wait(for: served + 1, "served")
    timeline.note("service is back")
    await timeline.wait(for: served + 500, "served")
  }
}
