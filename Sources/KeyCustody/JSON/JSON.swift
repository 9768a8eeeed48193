/// A JSON value (RFC 8259), read strictly: what two readers could take in two ways is refused.
package enum JSON: Sendable, Hashable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number without fraction and exponent.
  case integer(Int64)
  /// Any other number.
  case number(Double)
  /// A text.
  case string(String)
  /// Values in order.
  case array([JSON])
  /// Named values.
  case object(Object)

  /// Named values in the order they were given, each name once.
  ///
  /// Two are equal when their order is too.
  package struct Object: Sendable, Hashable {
    /// One named value.
    package struct Member: Sendable, Hashable {
      /// The name.
      package let name: String
      /// The value.
      package var value: JSON
    }
    /// The members in order.
    package private(set) var members: [Member]

    /// No members.
    package init() { members = [] }

    /// Members whose names are known to differ.
    init(distinct members: [Member]) { self.members = members }

    /// The value of a name, compared byte by byte; setting one that is not there appends it, setting `nil` removes it.
    package subscript(name: String) -> JSON? {
      get { position(of: name).map { members[$0].value } }
      set {
        switch (position(of: name), newValue) {
        case (let index?, let value?): members[index].value = value
        case (let index?, nil): members.remove(at: index)
        case (nil, let value?): members.append(Member(name: name, value: value))
        case (nil, nil): break
        }
      }
    }

    private func position(of name: String) -> Int? {
      members.firstIndex { $0.name.hasBytes(of: name) }
    }
  }
}

extension JSON {
  /// The text, where this is one.
  package var string: String? { if case .string(let text) = self { text } else { nil } }
  /// The number, where this is one without fraction and exponent.
  package var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
  /// The flag, where this is one.
  package var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
  /// The values, where this is an array.
  package var array: [JSON]? { if case .array(let values) = self { values } else { nil } }
  /// The members, where this is an object.
  package var object: Object? { if case .object(let object) = self { object } else { nil } }
  /// The value of a member, where this is an object that has it.
  package subscript(name: String) -> JSON? { object?[name] }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  /// A text.
  package init(stringLiteral value: String) { self = .string(value) }
  /// A whole number.
  package init(integerLiteral value: Int64) { self = .integer(value) }
  /// True or false.
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  /// Values in order.
  package init(arrayLiteral elements: JSON...) { self = .array(elements) }
  /// Named values; of a name given twice the last counts.
  package init(dictionaryLiteral elements: (String, JSON)...) {
    var object = Object()
    for (name, value) in elements { object[name] = value }
    self = .object(object)
  }
  /// `null`.
  package init(nilLiteral: ()) { self = .null }
}

// MARK: - Writing

extension JSON {
  /// The text, UTF-8, without white space, members in their order.
  package var bytes: [UInt8] {
    var output: [UInt8] = []
    write(to: &output)
    return output
  }

  /// Appends the text.
  ///
  /// JSON has no infinity: a number that is not finite becomes `null`.
  package func write(to output: inout [UInt8]) {
    switch self {
    case .null: output.append(contentsOf: "null".utf8)
    case .bool(let flag): output.append(contentsOf: (flag ? "true" : "false").utf8)
    case .integer(let number): output.append(contentsOf: number.description.utf8)
    case .number(let number): output.append(contentsOf: (number.isFinite ? number.description : "null").utf8)
    case .string(let text): Self.write(text, to: &output)
    case .array(let values):
      output.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        value.write(to: &output)
      }
      output.append(UInt8(ascii: "]"))
    case .object(let object):
      output.append(UInt8(ascii: "{"))
      for (index, member) in object.members.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        Self.write(member.name, to: &output)
        output.append(UInt8(ascii: ":"))
        member.value.write(to: &output)
      }
      output.append(UInt8(ascii: "}"))
    }
  }

  static func write(_ text: String, to output: inout [UInt8]) {
    let quote = UInt8(ascii: "\""), backslash = UInt8(ascii: "\\")
    output.append(quote)
    if !text.utf8.span.contains(where: { $0 < 0x20 || $0 == quote || $0 == backslash }) {
      output.append(contentsOf: text.utf8)
    } else {
      for byte in text.utf8 {
        switch byte {
        case quote, backslash: output.append(contentsOf: [backslash, byte])
        case 0x08: output.append(contentsOf: "\\b".utf8)
        case 0x09: output.append(contentsOf: "\\t".utf8)
        case 0x0a: output.append(contentsOf: "\\n".utf8)
        case 0x0c: output.append(contentsOf: "\\f".utf8)
        case 0x0d: output.append(contentsOf: "\\r".utf8)
        case 0..<0x20: output.append(contentsOf: "\\u00\([byte].hexadecimal)".utf8)
        default: output.append(byte)
        }
      }
    }
    output.append(quote)
  }
}

extension Span<UInt8> {
  fileprivate func contains(where isFound: (UInt8) -> Bool) -> Bool {
    for index in indices where isFound(self[index]) { return true }
    return false
  }
}
