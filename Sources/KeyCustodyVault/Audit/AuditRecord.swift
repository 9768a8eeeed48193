public import KeyCustody
import KeyCustodyCrypto

/// A record of the audit log: an event, its number, and its link to the record before it.
public struct AuditRecord: Sendable, Hashable {
  /// Its number, counted from 0 over all files of the log.
  public let number: UInt64
  /// How many records were on the disk, and could have been acknowledged, when this one was written.
  public let kept: UInt64
  /// The hash of the record before it (RFC 6962's leaf hash); 32 zero bytes for the first.
  public let previous: [UInt8]
  /// What happened; long texts are cut.
  public let event: AuditEvent

  init(number: UInt64, kept: UInt64, previous: [UInt8], event: AuditEvent) {
    self.number = number
    self.kept = kept
    self.previous = previous
    self.event = event
  }

  /// What the first record has in place of a hash.
  static let noPrevious = [UInt8](repeating: 0, count: MerkleTree.hashLength)
  /// The longest line, without its end: every text as long as allowed, every character written as an escape.
  static let longestLine = 32 << 10

  /// The canonical line, without its end: JSON in printable ASCII, one way only to write a record.
  var line: [UInt8] {
    var line = AuditLineWriter()
    line.number("v", 1)
    line.number("n", number)
    line.number("kept", kept)
    line.text("prev", previous.base64URL)
    line.number("time", event.time.milliseconds)
    line.text("principal", event.principal)
    line.text("method", event.method)
    line.text("action", event.action)
    line.text("target", event.target)
    line.text("resource", event.resource)
    line.text("rule", event.rule)
    line.text("outcome", event.outcome.rawValue)
    line.text("error", event.error)
    line.text("request", event.requestID)
    line.text("source", event.source)
    if let detail = event.detail { line.text("detail", detail) }
    return line.end()
  }

  /// Reads a line; `nil` for everything that is not written exactly as ``line`` would.
  init?(line: [UInt8]) {
    guard line.count <= Self.longestLine else { return nil }
    var reader = AuditLineReader(line)
    guard reader.number("v", UInt64.self) == 1, let number = reader.number("n", UInt64.self),
      let kept = reader.number("kept", UInt64.self),
      let previous = reader.text("prev").flatMap({ [UInt8](base64URL: $0) }),
      previous.count == MerkleTree.hashLength, let time = reader.number("time", Int64.self),
      let principal = reader.text("principal"), let method = reader.text("method"), let action = reader.text("action"),
      let target = reader.text("target"), let resource = reader.optionalText("resource"),
      let rule = reader.text("rule"), let outcome = reader.text("outcome").flatMap(AuditEvent.Outcome.init(rawValue:)),
      let error = reader.optionalText("error"), let request = reader.text("request"),
      let source = reader.optionalText("source")
    else { return nil }
    // Only where there is one; what else may follow is found when the line is written again.
    let detail = reader.text("detail")
    self.init(
      number: number, kept: kept, previous: previous,
      event: AuditEvent(
        time: Timestamp(milliseconds: time), principal: principal, method: method, action: action, target: target,
        resource: resource, rule: rule, outcome: outcome, error: error, requestID: request, source: source,
        detail: detail))
    guard self.line == line else { return nil }
  }
}

extension AuditEvent {
  /// The same event with texts of bounded length: what a stranger can send is no way to fill the disk.
  func bounded() throws(KeyCustodyError) -> AuditEvent {
    AuditEvent(
      time: time, principal: try Self.cut(principal, 256), method: try Self.cut(method, 32),
      action: try Self.cut(action, 64), target: try Self.cut(target, 512),
      resource: resource == nil ? nil : try Self.cut(resource ?? "", 128), rule: try Self.cut(rule, 256),
      outcome: outcome, error: error == nil ? nil : try Self.cut(error ?? "", 128),
      requestID: try Self.cut(requestID, 128), source: source == nil ? nil : try Self.cut(source ?? "", 64),
      detail: detail == nil ? nil : try Self.cut(detail ?? "", 512))
  }

  /// A text that is too long keeps its beginning, and 16 digits of its hash, so that two of them can be told apart.
  private static func cut(_ text: String, _ limit: Int) throws(KeyCustodyError) -> String {
    guard text.utf8.count > limit else { return text }
    let scalars = text.unicodeScalars
    guard scalars.index(scalars.startIndex, offsetBy: limit + 1, limitedBy: scalars.endIndex) != nil else {
      return text
    }
    let hash = try Hashing.sha256(Array(text.utf8)).prefix(8)
    return String(String.UnicodeScalarView(scalars.prefix(limit - 20))) + "...#" + Array(hash).hexadecimal
  }
}
