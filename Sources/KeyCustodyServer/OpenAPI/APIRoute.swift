import HTTPTypes
import KeyCustody

/// One method of one address, as the table of routes has it (``APIRoutes``).
struct APIRoute: Sendable {
  /// Who serves it, and what a caller must show.
  enum Surface: Sendable {
    /// A vault in the Key Vault form: a token and `api-version`.
    case vault
    /// A vault in the project's own form: a token.
    case own
    /// The domain itself, for administrators of a tenant: a token.
    case administration
    /// The token endpoint's host: nothing.
    case tokens
    /// Any host: nothing.
    case open
    /// The loopback address, over HTTP: headers that say so.
    case machine
  }

  let surface: Surface
  let method: HTTPRequest.Method
  /// The address, with names in braces for what varies.
  let path: String
  /// The name of the operation.
  let operation: String
  let summary: String
  /// Parameters of the query besides `api-version`, and headers.
  let parameters: [APIParameter]
  /// The schema of the request's body, where there is one.
  let request: String?
  /// The schema of the answer; `nil` where it is empty.
  let response: String?
  private let template: [String]
  /// The names that do not vary, and where they stand.
  private let fixed: [(place: Int, name: String)]

  init(
    _ surface: Surface, _ method: HTTPRequest.Method, _ path: String, _ operation: String, _ summary: String,
    parameters: [APIParameter] = [], takes request: String? = nil, gives response: String? = nil
  ) {
    self.surface = surface
    self.method = method
    self.path = path
    self.operation = operation
    self.summary = summary
    self.parameters = parameters
    self.request = request
    self.response = response
    template = path.split(separator: "/").map { $0.hasPrefix("{") ? String($0) : $0.lowercased() }
    fixed = template.enumerated().filter { !$0.element.hasPrefix("{") }.map { ($0.offset, $0.element) }
  }

  /// How many segments it has.
  var length: Int { template.count }

  /// Whether its names are those of a request of its length, which are in lower case; no name is empty.
  func fits(_ folded: [String]) -> Bool { fixed.allSatisfy { folded[$0.place] == $0.name } }

  /// The names in braces.
  var variables: [String] {
    template.filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
  }

  /// Whether a caller must show a token.
  var needsToken: Bool {
    switch surface {
    case .vault, .own, .administration: true
    case .tokens, .open, .machine: false
    }
  }

  /// What stands in an address of it for the names in braces.
  func values(_ segments: [String]) -> [String: String] {
    var found: [String: String] = [:]
    for (name, segment) in zip(template, segments) where name.hasPrefix("{") {
      found[String(name.dropFirst().dropLast())] = segment
    }
    return found
  }

  /// Whether it is the route of a request; names are compared without regard to case, as clients write them.
  func matches(_ method: HTTPRequest.Method, _ segments: [String]) -> Bool {
    guard method == self.method, segments.count == template.count else { return false }
    return zip(template, segments).allSatisfy { name, segment in
      name.hasPrefix("{") || segment.utf8.allSatisfy { $0 < 0x80 } && name == segment.lowercased()
    }
  }
}

/// A parameter of a request's query, or a header.
struct APIParameter: Sendable {
  let name: String
  let place: String
  let isRequired: Bool
  let schema: JSON
  let summary: String

  init(_ name: String, in place: String = "query", isRequired: Bool = false, _ schema: JSON, _ summary: String) {
    self.name = name
    self.place = place
    self.isRequired = isRequired
    self.schema = schema
    self.summary = summary
  }

  var json: JSON {
    [
      "name": .string(name), "in": .string(place), "required": .bool(isRequired), "description": .string(summary),
      "schema": schema,
    ]
  }
}
