import KeyCustody

extension JSON {
  /// Named values in their order, without those that are absent.
  init(members: [(String, JSON?)]) {
    var object = Object()
    for case (let name, let value?) in members { object[name] = value }
    self = .object(object)
  }

  /// Texts in their order.
  init(texts: [String]) { self = .array(texts.map(JSON.string)) }
}

/// A JSON body, whose members are read one by one; ones it does not know are ignored, as the wire has it.
struct WireBody {
  private let object: JSON.Object

  /// Reads a body; an empty one has no members.
  ///
  /// - Throws: `BadParameter`.
  init(_ bytes: [UInt8]) throws(WireError) {
    guard !bytes.isEmpty else {
      object = JSON.Object()
      return
    }
    let json: JSON
    do throws(KeyCustodyError) { json = try JSON(bytes) } catch {
      throw .badParameter("The request body is not JSON as RFC 8259 has it, with every name once.")
    }
    guard let object = json.object else { throw .badParameter("The request body is not a JSON object.") }
    self.object = object
  }

  init(_ object: JSON.Object) { self.object = object }

  /// A member; `nil` where it is absent or `null`.
  subscript(_ name: String) -> JSON? {
    guard let value = object[name], value != .null else { return nil }
    return value
  }

  private static func wrong(_ name: String, _ what: String) -> WireError { .badParameter("'\(name)' is not \(what).") }

  func text(_ name: String) throws(WireError) -> String? {
    guard let value = self[name] else { return nil }
    guard let text = value.string else { throw Self.wrong(name, "a string") }
    return text
  }

  func requiredText(_ name: String) throws(WireError) -> String {
    guard let text = try text(name) else { throw .badParameter("'\(name)' is missing.") }
    return text
  }

  /// Bytes in base64url; padding is taken, since some clients write it.
  func bytes(_ name: String) throws(WireError) -> [UInt8]? {
    guard let text = try text(name) else { return nil }
    var end = text[...]
    while end.last == "=" { end.removeLast() }
    guard text.utf8.count - end.utf8.count <= 2, let bytes = [UInt8](base64URL: end) else {
      throw .badParameter("Content of '\(name)' is not base64url.")
    }
    return bytes
  }

  func requiredBytes(_ name: String) throws(WireError) -> [UInt8] {
    guard let bytes = try bytes(name) else { throw .badParameter("'\(name)' is missing.") }
    return bytes
  }

  func flag(_ name: String) throws(WireError) -> Bool? {
    guard let value = self[name] else { return nil }
    guard let flag = value.bool else { throw Self.wrong(name, "true or false") }
    return flag
  }

  func number(_ name: String) throws(WireError) -> Int64? {
    guard let value = self[name] else { return nil }
    guard let number = value.integer else { throw Self.wrong(name, "a whole number") }
    return number
  }

  /// Whole seconds since 1970.
  func moment(_ name: String) throws(WireError) -> Timestamp? {
    guard let seconds = try number(name) else { return nil }
    guard (0...253_402_300_799).contains(seconds) else { throw Self.wrong(name, "a time in seconds since 1970") }
    return Timestamp(seconds: seconds)
  }

  func texts(_ name: String) throws(WireError) -> [String]? {
    guard let value = self[name] else { return nil }
    guard let values = value.array else { throw Self.wrong(name, "an array") }
    var found: [String] = []
    for value in values {
      guard let text = value.string else { throw Self.wrong(name, "an array of strings") }
      found.append(text)
    }
    return found
  }

  func body(_ name: String) throws(WireError) -> WireBody? {
    guard let value = self[name] else { return nil }
    guard let object = value.object else { throw Self.wrong(name, "an object") }
    return WireBody(object)
  }

  func bodies(_ name: String) throws(WireError) -> [WireBody]? {
    guard let value = self[name] else { return nil }
    guard let values = value.array else { throw Self.wrong(name, "an array") }
    var found: [WireBody] = []
    for value in values {
      guard let object = value.object else { throw Self.wrong(name, "an array of objects") }
      found.append(WireBody(object))
    }
    return found
  }

  /// Names and values, all strings.
  func tags(_ name: String) throws(WireError) -> [String: String]? {
    guard let value = self[name] else { return nil }
    guard let object = value.object else { throw Self.wrong(name, "an object") }
    var tags: [String: String] = [:]
    for member in object.members {
      guard let text = member.value.string else { throw Self.wrong(name, "an object of strings") }
      tags[member.name] = text
    }
    return tags
  }

  /// All members that are strings.
  var strings: [String: String] {
    var found: [String: String] = [:]
    for member in object.members { found[member.name] = member.value.string }
    return found
  }
}
