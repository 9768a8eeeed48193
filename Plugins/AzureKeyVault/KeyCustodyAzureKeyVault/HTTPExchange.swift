import KeyCustody

/// A request, ready to be sent as often as needed.
struct HTTPAsk: Sendable {
  /// Bytes to send, cleared when nothing refers to them any more.
  ///
  /// Copies that the network's buffers hold are beyond our reach.
  final class Body: Sendable {
    let bytes: SecretBytes
    let type: String
    init(_ bytes: consuming SecretBytes, type: String = "application/json") {
      self.bytes = bytes
      self.type = type
    }
  }

  enum Method: String, Sendable { case get = "GET", put = "PUT", post = "POST", patch = "PATCH", delete = "DELETE" }

  var method: Method
  var address: String
  var headers: [(name: String, value: String)] = []
  var body: Body?
}

/// What came back: a status, the headers that matter, a body within bounds.
struct HTTPReply: Sendable {
  var status: Int
  /// The values of `WWW-Authenticate`.
  var challenges: [String] = []
  /// What `Retry-After` says, in seconds.
  var retryAfter: Duration?
  var body: [UInt8] = []

  /// The most bytes of a body.
  static let longestBody = 512 << 10
  /// The most headers.
  static let mostHeaders = 100

  /// Reads `Retry-After`: seconds; a date says nothing to a clock that may be off.
  static func retryAfter(_ text: String?) -> Duration? {
    guard let text, let seconds = Int(text), seconds >= 0 else { return nil }
    return .seconds(min(seconds, 3600))
  }
}

/// Why there is no reply.
enum HTTPFailure: Error {
  /// No connection came about: nothing was sent.
  case notSent(String)
  /// The connection ended, or the caller gave up: the request may have been read.
  case broken(String)
  /// No answer in time.
  case late
  /// An answer that is over the bounds.
  case excessive(String)
}

extension KeyCustodyError.Reason {
  /// Something outside answered, but not as it must.
  static let badAnswer = Self("bad-answer")
  /// Whether it happened can't be known from here.
  static let outcomeUnknown = Self("outcome-unknown")
}
