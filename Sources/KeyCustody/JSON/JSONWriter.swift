/// Writes JSON as it is told to, without white space; whoever writes sees to the order of members.
package struct JSONWriter {
  /// The text so far, UTF-8.
  package private(set) var bytes: [UInt8] = []
  /// Whether a comma comes before the next member or value.
  private var needsComma = false

  /// Nothing yet.
  package init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

  /// Adds an object, whose members `body` writes.
  package mutating func object(_ body: (inout JSONWriter) -> Void) {
    begin("{")
    body(&self)
    end("}")
  }

  /// Adds an array, whose values `body` writes.
  package mutating func array(_ body: (inout JSONWriter) -> Void) {
    begin("[")
    body(&self)
    end("]")
  }

  /// Adds a text.
  package mutating func text(_ text: String) {
    separate()
    JSON.write(text, to: &bytes)
  }

  // MARK: Members

  /// Adds a text; nothing where there is none.
  package mutating func member(_ name: String, _ text: String?) {
    guard let text else { return }
    self.name(name)
    self.text(text)
  }

  /// Adds a whole number; nothing where there is none.
  package mutating func member(_ name: String, _ number: Int64?) {
    guard let number else { return }
    self.name(name)
    separate()
    bytes.append(contentsOf: number.description.utf8)
  }

  /// Adds a flag; nothing where there is none.
  package mutating func member(_ name: String, _ flag: Bool?) {
    guard let flag else { return }
    self.name(name)
    separate()
    bytes.append(contentsOf: (flag ? "true" : "false").utf8)
  }

  /// Adds a value that writes itself.
  package mutating func member(_ name: String, _ value: some JSONCoded) {
    self.name(name)
    value.write(to: &self)
  }

  /// Adds values that write themselves.
  package mutating func member(_ name: String, _ values: [some JSONCoded]) {
    self.name(name)
    array { writer in for value in values { value.write(to: &writer) } }
  }

  /// Adds texts.
  package mutating func member(_ name: String, texts: [String]) {
    self.name(name)
    array { writer in for text in texts { writer.text(text) } }
  }

  private mutating func name(_ name: String) {
    separate()
    JSON.write(name, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  private mutating func begin(_ bracket: Unicode.Scalar) {
    separate()
    bytes.append(UInt8(ascii: bracket))
    needsComma = false
  }

  private mutating func end(_ bracket: Unicode.Scalar) {
    bytes.append(UInt8(ascii: bracket))
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }
}
