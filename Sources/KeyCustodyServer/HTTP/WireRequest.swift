import HTTPTypes
import KeyCustody

/// A request as the handlers see it: read once, strictly, whatever transport it came by.
struct WireRequest: Sendable {
  let method: HTTPRequest.Method
  /// The host in lower case, without its port: some clients leave the port out.
  let host: String
  /// The path's segments, decoded; empty ones are left out, since clients write `//` for "no version".
  let segments: [String]
  let query: [String: String]
  let headers: HTTPFields
  let body: [UInt8]
  /// The peer's address; `nil` when the request came over the owner's own socket.
  let clientAddress: String?
  /// Given by the server, unlike any other.
  let id: String
  /// When no answer is wanted any more, in running time.
  var deadline = Duration.zero

  /// Reads the head.
  ///
  /// - Throws: `invalidInput` (`malformed`) for a path or query that is not percent-encoded UTF-8, has control
  ///   characters, or names a parameter twice.
  init(
    _ head: HTTPRequest, body: [UInt8], clientAddress: String?, id: String
  ) throws(KeyCustodyError) {
    method = head.method
    host = Self.host(head.authority ?? "")
    headers = head.headerFields
    self.body = body
    self.clientAddress = clientAddress
    self.id = id
    let target = (head.path ?? "/")[...]
    guard target.utf8.count <= Self.longestTarget, target.utf8.first == UInt8(ascii: "/") else { throw Self.malformed }
    let end = target.utf8.firstIndex(of: UInt8(ascii: "?"))
    var segments: [String] = []
    for part in target[..<(end ?? target.endIndex)].utf8.split(separator: UInt8(ascii: "/")) {
      guard let text = Self.decode(Substring(part), plusIsSpace: false) else { throw Self.malformed }
      segments.append(text)
    }
    self.segments = segments
    query = try Self.pairs(end.map { target[$0...].dropFirst() } ?? "")
  }

  private static let longestTarget = 4096
  private static let malformed = KeyCustodyError(
    .invalidInput, .malformed, "The request's address is malformed.",
    remedy: "Write it as RFC 3986 has it, with every parameter once.")

  /// The pairs of a query or a form, each name once.
  ///
  /// Names are compared exactly; one that comes twice, in whatever case, would have two meanings.
  static func pairs(_ text: Substring) throws(KeyCustodyError) -> [String: String] {
    var found: [String: String] = [:]
    var names: Set<String> = []
    for part in text.utf8.split(separator: UInt8(ascii: "&")) {
      let pair = Substring(part)
      let middle = pair.utf8.firstIndex(of: UInt8(ascii: "="))
      guard let name = decode(pair[..<(middle ?? pair.endIndex)], plusIsSpace: true),
        names.insert(name.lowercased()).inserted,
        let value = decode(middle.map { pair[pair.utf8.index(after: $0)...] } ?? "", plusIsSpace: true)
      else { throw malformed }
      found[name] = value
    }
    return found
  }

  /// Undoes percent-encoding; `nil` for what is not, or is not UTF-8 without control characters.
  private static func decode(_ text: Substring, plusIsSpace: Bool) -> String? {
    // Nearly all are written as they are.
    let isPlain = text.utf8.allSatisfy {
      (0x20..<0x7f).contains($0) && $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "+")
    }
    if isPlain { return String(text) }
    var bytes: [UInt8] = []
    var source = text.utf8.makeIterator()
    while let byte = source.next() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let high = source.next().flatMap(hexadecimal), let low = source.next().flatMap(hexadecimal) else {
          return nil
        }
        bytes.append(high << 4 | low)
      case UInt8(ascii: "+") where plusIsSpace: bytes.append(0x20)
      default: bytes.append(byte)
      }
    }
    guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  /// A host without its port; nothing for one that is not ASCII, which folds to others' names.
  static func host(_ authority: String) -> String {
    guard authority.utf8.allSatisfy({ $0 < 0x80 }) else { return "" }
    let lower = authority.lowercased()
    guard let colon = lower.utf8.lastIndex(of: UInt8(ascii: ":")),
      lower.utf8[colon...].dropFirst().allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains)
    else { return lower }
    return String(lower[..<colon])
  }

  /// A header's value; `nil` where it is absent.
  ///
  /// - Throws: `invalidInput` where it comes twice: it would have two meanings.
  func header(_ name: HTTPField.Name) throws(KeyCustodyError) -> String? {
    let values = headers[values: name]
    guard values.count <= 1 else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "The header '\(name)' comes \(values.count) times.", remedy: "Send it once.")
    }
    return values.first
  }
}

/// What a handler answers.
struct WireResponse: Sendable {
  var status: HTTPResponse.Status
  var headers = HTTPFields()
  var body: [UInt8] = []

  init(_ status: HTTPResponse.Status, headers: HTTPFields = HTTPFields(), body: [UInt8] = []) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// A body of JSON.
  init(_ status: HTTPResponse.Status = .ok, _ json: JSON) {
    self.status = status
    headers[.contentType] = "application/json; charset=utf-8"
    body = json.bytes
  }
}
