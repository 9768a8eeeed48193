import HTTPTypes
import KeyCustody
import KeyCustodyServices
import Synchronization

/// Liveness and readiness: whether the process answers, and whether what it stands on does.
final class Readiness: Sendable {
  private struct Finding {
    var isReady: Bool
    var parts: [(String, Bool)]
    var moment: Duration
  }
  private let custody: KeyCustody
  private let last = Mutex<Finding?>(nil)
  private let isDraining = Atomic(false)
  /// For how long a finding is told again: asking costs the backends something.
  private static let validity = Duration.seconds(2)

  init(_ custody: KeyCustody) { self.custody = custody }

  /// From now on not ready: the server is about to stop.
  func drain() { isDraining.store(true, ordering: .releasing) }

  /// Answers `/healthz`; `nil` for any other address.
  static func live(_ request: WireRequest) -> WireResponse? {
    request.method == .get && request.segments == ["healthz"] ? WireResponse(.ok, ["status": "live"]) : nil
  }

  /// Answers `/readyz`; `nil` for any other address.
  func respond(_ request: WireRequest) async -> WireResponse? {
    guard request.method == .get, request.segments == ["readyz"] else { return nil }
    // In time to say so: what hangs is not available, and no reason to be late.
    let now = custody.environment.time.running()
    let finding = await finding(now, by: min(now + .seconds(2), now + (request.deadline - now) / 2))
    let isReady = finding.isReady && !isDraining.load(ordering: .acquiring)
    return WireResponse(
      isReady ? .ok : .serviceUnavailable,
      [
        "status": isReady ? "ready" : "not ready",
        "parts": JSON(members: finding.parts.map { ($0.0, .string($0.1 ? "available" : "unavailable")) }),
      ])
  }

  private func finding(_ now: Duration, by deadline: Duration) async -> Finding {
    if let known = last.withLock({ $0 }), now - known.moment < Self.validity { return known }
    // All at once, so that one that hangs takes nothing of the others' time.
    var parts = await withTaskGroup(of: (String, Bool).self) { group in
      for (name, store) in custody.policyStores {
        group.addTask {
          let answers = await self.answers(by: deadline) { (try? await store.currentRevision()) != nil }
          return ("policyStore.\(name)", answers)
        }
      }
      for (name, provider) in custody.keyProviders {
        group.addTask {
          ("keyProvider.\(name)", await self.answers(by: deadline) { await Self.answers(provider, by: deadline) })
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    parts.sort { $0.0 > $1.0 }
    // One key provider that is away stops its vaults, not the others.
    let stores = parts.filter { $0.0.hasPrefix("policyStore.") }
    let providers = parts.filter { $0.0.hasPrefix("keyProvider.") }
    let finding = Finding(
      isReady: stores.allSatisfy(\.1) && providers.contains(where: \.1), parts: parts, moment: now)
    last.withLock { $0 = finding }
    return finding
  }

  /// Whether a provider answers at all: a version that nobody made is asked for.
  private static func answers(_ provider: any KeyProvider, by deadline: Duration) async -> Bool {
    guard let nobody = try? KeyVersionID(String(repeating: "0", count: 32)) else { return false }
    do throws(KeyCustodyError) {
      _ = try await provider.describe(nobody, context: CallContext(purpose: .probe, deadline: deadline))
      return true
    } catch { return error.code == .notFound }
  }

  /// What a backend answers, or that it does not in time.
  private func answers(by deadline: Duration, _ ask: @escaping @Sendable () async -> Bool) async -> Bool {
    let answer = FirstAnswer<Bool>()
    // Not in a group, which would wait for one that hangs.
    Task { answer.give(await ask()) }
    let late = KeyCustodyError(.timeout, .deadline, "The backend did not answer.")
    return (try? await answer.take(by: deadline, custody.environment.time, late: late)) ?? false
  }
}
