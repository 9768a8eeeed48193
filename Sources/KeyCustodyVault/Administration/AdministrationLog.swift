package import KeyCustody

/// An act of administration, as audit records name it.
package struct AdministrativeAct: Sendable {
  /// What is done.
  package var action: String
  /// On what: a vault's address, or a principal.
  package var target: String
  /// What is set.
  package var detail: String?

  /// An act.
  package init(_ action: String, on target: String, _ detail: String? = nil) {
    self.action = action
    self.target = target
    self.detail = detail
  }
}

/// Puts administration on record as the use of keys is: what can't be recorded does not happen (SEMANTICS V11).
package struct AdministrationLog: Sendable {
  private let audit: any AuditSink
  private let time: any TimeSource

  package init(_ audit: any AuditSink, time: any TimeSource) {
    self.audit = audit
    self.time = time
  }

  /// Does what changes something: recorded as intended before, and how it ended after.
  package func change<Answer>(
    _ act: AdministrativeAct, by administrator: Administrator, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    var intent = event(act, administrator)
    intent.outcome = .intended
    try await audit.record(intent)
    return try await look(act, by: administrator, body)
  }

  /// Does what changes nothing: recorded before it is answered.
  package func look<Answer>(
    _ act: AdministrativeAct, by administrator: Administrator, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    var event = event(act, administrator)
    let answer: Answer
    do throws(KeyCustodyError) { answer = try await body() } catch {
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await audit.record(event)
      throw error
    }
    event.outcome = .allowed
    try await audit.record(event)
    return answer
  }

  /// Records that somebody was refused, by which rule.
  package func refuse(
    _ act: AdministrativeAct, by administrator: Administrator, rule: String, _ error: KeyCustodyError
  ) async throws(KeyCustodyError) {
    var event = event(act, administrator)
    event.rule = rule
    event.outcome = .refused
    event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
    try await audit.record(event)
  }

  private func event(_ act: AdministrativeAct, _ administrator: Administrator) -> AuditEvent {
    AuditEvent(
      time: time.now(), principal: administrator.name, method: administrator.method, action: act.action,
      target: act.target, resource: nil, rule: administrator.rule, outcome: .failed, error: nil,
      requestID: administrator.requestID, source: administrator.source, detail: act.detail)
  }
}

extension AccessRule {
  /// What it says, in short: `allow contoso/ann keys all but purge, secrets none`.
  var summary: String {
    "\(effect.rawValue) \(principal) keys \(Self.list(keys)), secrets \(Self.list(secrets))"
  }

  private static func list<Name: RawRepresentable<String> & CaseIterable & Hashable>(_ names: Set<Name>) -> String {
    let (some, rest) = (Name.allCases.filter(names.contains), Name.allCases.filter { !names.contains($0) })
    if rest.isEmpty { return "all" }
    if some.isEmpty { return "none" }
    // The shorter of the two, since records have only so much room.
    return some.count <= rest.count
      ? some.map(\.rawValue).joined(separator: "+") : "all but " + rest.map(\.rawValue).joined(separator: "+")
  }
}

extension NetworkRules {
  /// What they say, in short.
  var summary: String {
    if allowsEveryAddress { return "every address" }
    let bypass = trustedServicesBypass ? ", trusted services bypass" : ""
    return "only \(ranges.map(\.description).joined(separator: " "))\(bypass)"
  }
}
