import KeyCustody
import KeyCustodyServices
import KeyCustodyVault
import Logging
import Synchronization

/// Puts who tried to get in on record (SEMANTICS V11): tokens given and refused.
///
/// Strangers can cause such records at no cost of theirs, so there are only so many a second of what is refused; the
/// next one that is written tells how many were left out.
final class AttemptLog: Sendable {
  private struct State {
    var second: Int64 = 0
    var count = 0
    var leftOut = 0
  }
  private let custody: KeyCustody
  private let state = Mutex(State())
  private static let mostPerSecond = 20

  init(_ custody: KeyCustody) { self.custody = custody }

  /// A credential that was refused.
  ///
  /// - Parameters:
  ///   - rule: what refused one that is good in itself.
  ///   - error: code and reason.
  func refused(
    _ principal: String, _ method: String, at target: String, _ request: WireRequest, rule: String = "-",
    error: String = "credentialRejected/wrong-secret"
  ) async {
    let now = custody.environment.time.now()
    let leftOut = state.withLock { state -> Int? in
      if state.second != now.seconds { (state.second, state.count) = (now.seconds, 0) }
      state.count += 1
      guard state.count <= Self.mostPerSecond else {
        state.leftOut += 1
        return nil
      }
      defer { state.leftOut = 0 }
      return state.leftOut
    }
    guard let leftOut else { return }
    let rule = leftOut == 0 ? rule : "\(leftOut) more were left out"
    let event = AuditEvent(
      time: now, principal: principal, method: method, action: "authenticate", target: target, resource: nil,
      rule: rule, outcome: .refused, error: error, requestID: request.id,
      source: request.clientAddress)
    // Refused it is, whether that can be recorded or not.
    do { try await custody.vaults.record(event) } catch {
      custody.environment.logger.error("a refused credential could not be recorded", metadata: ["error": "\(error)"])
    }
  }

  /// A token that is about to be given.
  ///
  /// - Throws: when it can't be recorded, and then must not be given.
  func granted(
    _ principal: PrincipalID, _ method: String, for audience: String, _ request: WireRequest
  ) async throws(KeyCustodyError) {
    try await custody.vaults.record(
      AuditEvent(
        time: custody.environment.time.now(), principal: principal.description, method: method, action: "token",
        target: audience, resource: nil, rule: "-", outcome: .allowed, error: nil, requestID: request.id,
        source: request.clientAddress))
  }
}
