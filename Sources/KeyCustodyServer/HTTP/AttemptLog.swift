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
  /// What was refused.
  enum Kind: Int {
    /// A credential.
    case credential
    /// Somebody whose credential is good.
    case access
  }
  private struct State {
    var second: Int64 = 0
    var count = 0
    var leftOut = 0

    /// How many were left out before this one; `nil` for one that is left out itself.
    mutating func take(at now: Int64) -> Int? {
      if second != now { (second, count) = (now, 0) }
      count += 1
      guard count <= AttemptLog.mostPerSecond else {
        leftOut += 1
        return nil
      }
      defer { leftOut = 0 }
      return leftOut
    }
  }
  private let custody: KeyCustody
  /// Of each kind, so that one leaves room for the other.
  private let states = Mutex([State(), State()])
  private static let mostPerSecond = 20

  init(_ custody: KeyCustody) { self.custody = custody }

  /// Somebody who was refused.
  ///
  /// - Parameters:
  ///   - rule: what refused a credential that is good in itself.
  ///   - error: code and reason.
  func refused(
    _ principal: String, _ method: String, at target: String, _ request: WireRequest, _ kind: Kind = .credential,
    rule: String = "-",
    error: String = "credentialRejected/wrong-secret"
  ) async {
    let now = custody.environment.time.now()
    let leftOut = states.withLock { states in states[kind.rawValue].take(at: now.seconds) }
    guard let leftOut else { return }
    let rule = leftOut == 0 ? rule : "\(rule == "-" ? "" : "\(rule), ")\(leftOut) more were left out"
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
