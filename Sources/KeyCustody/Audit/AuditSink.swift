public import Logging

/// One use of a key, one act of administration, or one refused attempt (SEMANTICS V11).
///
/// Holds no key material, plaintext, PIN or token.
public struct AuditEvent: Sendable, Hashable, Codable {
  /// How it ended.
  public enum Outcome: String, Sendable, Codable {
    /// Allowed and about to be done: comes before every change of a key, and is followed by how that ended.
    case intended
    /// Done.
    case allowed
    /// Refused.
    case refused
    /// Tried and failed.
    case failed
  }
  /// When.
  public var time: Timestamp
  /// Who.
  public var principal: String
  /// How the caller proved who it is.
  public var method: String
  /// What: a permission's name, or that of an act of administration.
  public var action: String
  /// On what: a key's address, with the version used where one was; a vault's address, or a principal.
  public var target: String
  /// For which resource.
  public var resource: String?
  /// The rule that decided.
  public var rule: String
  /// How it ended.
  public var outcome: Outcome
  /// The error's code and reason, where there was one.
  public var error: String?
  /// Ties the event to the request that caused it.
  public var requestID: String
  /// From where: the caller's address; `nil` for a call from within the process.
  public var source: String?
  /// What was set, where the action does not say it all.
  public var detail: String?

  /// An event.
  public init(
    time: Timestamp, principal: String, method: String, action: String, target: String, resource: String?,
    rule: String, outcome: Outcome, error: String?, requestID: String, source: String? = nil, detail: String? = nil
  ) {
    self.time = time
    self.principal = principal
    self.method = method
    self.action = action
    self.target = target
    self.resource = resource
    self.rule = rule
    self.outcome = outcome
    self.error = error
    self.requestID = requestID
    self.source = source
    self.detail = detail
  }
}

/// Where audit events go before an operation is answered.
///
/// When `record` throws, the operation's result is withheld.
public protocol AuditSink: Sendable {
  /// Records an event; returns only when it is kept as safely as this sink keeps anything.
  func record(_ event: AuditEvent) async throws(KeyCustodyError)

  /// Records events of one step, in their order; one after the other, unless a sink can do better.
  func record(_ events: [AuditEvent]) async throws(KeyCustodyError)
}

extension AuditSink {
  /// Records events, one after the other.
  public func record(_ events: [AuditEvent]) async throws(KeyCustodyError) {
    for event in events { try await record(event) }
  }
}

/// Writes each event as one line of the log, with its fields as metadata.
public struct LogAuditSink: AuditSink {
  private let logger: Logger
  /// Writes to `logger` at level `notice`.
  public init(logger: Logger) { self.logger = logger }
  /// Logs the event; never fails, and is as durable as the log's handler.
  public func record(_ event: AuditEvent) async throws(KeyCustodyError) {
    logger.notice(
      "key use",
      metadata: [
        "principal": "\(event.principal)", "method": "\(event.method)", "action": "\(event.action)",
        "target": "\(event.target)", "resource": "\(event.resource ?? "-")", "rule": "\(event.rule)",
        "outcome": "\(event.outcome.rawValue)", "error": "\(event.error ?? "-")", "request": "\(event.requestID)",
        "source": "\(event.source ?? "-")", "detail": "\(event.detail ?? "-")",
      ])
  }
}
