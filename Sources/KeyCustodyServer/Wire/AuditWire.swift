import KeyCustody
import KeyCustodyVault

/// Audit records as they are told over HTTP.
enum AuditWire {
  /// A page, with where the next one begins.
  static func json(_ page: AuditPage) -> JSON {
    ["value": .array(page.records.map(json)), "next": page.next.map(JSON.string) ?? .null]
  }

  static func json(_ record: AuditRecord) -> JSON {
    let event = record.event
    return JSON(members: [
      ("number", .integer(Int64(clamping: record.number))), ("time", .integer(event.time.milliseconds)),
      ("principal", .string(event.principal)), ("action", .string(event.action)), ("target", .string(event.target)),
      ("rule", .string(event.rule)), ("outcome", .string(event.outcome.rawValue)),
      ("error", event.error.map(JSON.string)), ("request", .string(event.requestID)),
      ("source", event.source.map(JSON.string)), ("detail", event.detail.map(JSON.string)),
      ("method", .string(event.method)),
    ])
  }
}
