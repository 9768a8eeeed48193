import HTTPTypes
import KeyCustody

@testable import KeyCustodyServer

/// Whether answers fit what the OpenAPI document says of them: required members, and the types of all that are told.
enum SchemaCheck {
  static let document = OpenAPIDocument.json(domain: ServerBench.domain)

  /// What is wrong with an answer.
  static func problems(of answer: Answer, to method: HTTPRequest.Method, _ path: String) -> [String] {
    let segments = path.prefix { $0 != "?" }.split(separator: "/").map(String.init)
    guard let route = APIRoutes.find(method, segments),
      let responses = document["paths"]?[route.path]?[method.rawValue.lowercased()]?["responses"]
    else {
      let isRefused = (400..<500).contains(answer.status)
      return isRefused ? [] : ["the route is not described, and answered \(answer.status)"]
    }
    let status = "\(answer.status)"
    guard
      let response = (responses[status] ?? responses["\(status.prefix(1))XX"]).map(resolved)
    else {
      // Refused before the route was looked at.
      if (400..<500).contains(answer.status) { return [] }
      return ["status \(status) is not described"]
    }
    guard let schema = response["content"]?["application/json"]?["schema"] else {
      return answer.bytes.isEmpty ? [] : ["a body is not described"]
    }
    guard let json = answer.json else {
      // The one refusal without a body: a wrong method.
      return answer.status == 405 ? [] : ["the body is not JSON"]
    }
    // A vault's refusal and a token endpoint's have different forms; which of them it is the route decides.
    return problems(of: json, schema, at: "body")
  }

  static func resolved(_ json: JSON) -> JSON {
    guard let reference = json["$ref"]?.string else { return json }
    return reference.split(separator: "/").dropFirst().reduce(document) { found, name in
      found[String(name)] ?? .null
    }
  }

  static func problems(of value: JSON, _ schema: JSON, at place: String) -> [String] {
    let schema = resolved(schema)
    if schema == .null { return ["\(place): there is no such schema"] }
    var found: [String] = []
    let types = schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string) ?? []
    if !types.isEmpty, !types.contains(type(of: value)) { found.append("\(place) is a \(type(of: value))") }
    for name in schema["required"]?.array?.compactMap(\.string) ?? [] where value[name] == nil {
      found.append("\(place).\(name) is missing")
    }
    let properties = schema["properties"]?.object
    for member in value.object?.members ?? [] {
      if let known = properties?[member.name] {
        found += problems(of: member.value, known, at: "\(place).\(member.name)")
      }
    }
    if let items = schema["items"] {
      for (index, item) in (value.array ?? []).enumerated() {
        found += problems(of: item, items, at: "\(place)[\(index)]")
      }
    }
    return found
  }

  private static func type(of value: JSON) -> String {
    switch value {
    case .null: "null"
    case .bool: "boolean"
    case .integer: "integer"
    case .number: "number"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }
}
