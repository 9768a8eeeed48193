/// A value that reads and writes its JSON form itself: for records of which there are many, several times quicker than
/// `Codable`.
///
/// Members are written in byte order of their names, as a ``RecordView`` has them; those that nobody knows are passed over.
package protocol JSONCoded: Sendable {
  /// Reads the value.
  ///
  /// - Throws: `invalidInput` (`malformed`, `bad-name` and their like) for what is not its form.
  init(json: JSON) throws(KeyCustodyError)
  /// Writes the value.
  func write(to writer: inout JSONWriter)
}

// MARK: - Reading

extension JSON {
  /// The members of what must be an object.
  package func members() throws(KeyCustodyError) -> Object {
    guard case .object(let object) = self else { throw .unexpectedJSON("It is no object.") }
    return object
  }
}

extension JSON.Object {
  /// A text that must be there.
  package func text(_ name: String) throws(KeyCustodyError) -> String {
    guard case .string(let text) = self[name] else { throw unfit(name, "a text") }
    return text
  }

  /// A text; `nil` where there is none.
  package func textIfAny(_ name: String) throws(KeyCustodyError) -> String? {
    try isAbsent(name) ? nil : text(name)
  }

  /// A whole number that must be there.
  package func integer(_ name: String) throws(KeyCustodyError) -> Int64 {
    guard case .integer(let number) = self[name] else { throw unfit(name, "a whole number") }
    return number
  }

  /// A whole number; `nil` where there is none.
  package func integerIfAny(_ name: String) throws(KeyCustodyError) -> Int64? {
    try isAbsent(name) ? nil : integer(name)
  }

  /// A flag that must be there.
  package func flag(_ name: String) throws(KeyCustodyError) -> Bool {
    guard case .bool(let flag) = self[name] else { throw unfit(name, "true or false") }
    return flag
  }

  /// A flag; `nil` where there is none.
  package func flagIfAny(_ name: String) throws(KeyCustodyError) -> Bool? {
    try isAbsent(name) ? nil : flag(name)
  }

  /// One of the texts that an enumeration knows.
  package func choice<Choice: RawRepresentable<String>>(_ name: String) throws(KeyCustodyError) -> Choice {
    guard let choice = Choice(rawValue: try text(name)) else { throw unfit(name, "a word that is known") }
    return choice
  }

  /// One of the texts that an enumeration knows; `nil` where there is none.
  package func choiceIfAny<Choice: RawRepresentable<String>>(_ name: String) throws(KeyCustodyError) -> Choice? {
    try isAbsent(name) ? nil : choice(name)
  }

  /// Values that must be there.
  package func values(_ name: String) throws(KeyCustodyError) -> [JSON] {
    guard case .array(let values) = self[name] else { throw unfit(name, "an array") }
    return values
  }

  /// Values; none where the member is absent.
  package func valuesIfAny(_ name: String) throws(KeyCustodyError) -> [JSON] {
    try isAbsent(name) ? [] : values(name)
  }

  /// Another value that must be there.
  package func value<Value: JSONCoded>(_ name: String) throws(KeyCustodyError) -> Value {
    guard let json = self[name] else { throw unfit(name, "a value") }
    return try Value(json: json)
  }

  /// Another value; `nil` where there is none.
  package func valueIfAny<Value: JSONCoded>(_ name: String) throws(KeyCustodyError) -> Value? {
    try isAbsent(name) ? nil : value(name)
  }

  private func isAbsent(_ name: String) -> Bool {
    switch self[name] {
    case nil, .null: true
    default: false
    }
  }
}

extension JSON.Object {
  private func unfit(_ name: String, _ what: String) -> KeyCustodyError {
    .unexpectedJSON(self[name] == nil ? "'\(name)' is missing." : "'\(name)' is not \(what).")
  }
}

extension KeyCustodyError {
  fileprivate static func unexpectedJSON(_ what: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .malformed, "The text is not what it should be. \(what)")
  }
}
