import KeyCustody

/// A statement, and the name under which the server keeps it prepared.
struct Statement {
  /// `nil` for one that is not worth keeping.
  let name: String?
  let text: String

  init(_ text: String, as name: String? = nil) {
    self.name = name
    self.text = text
  }
}

/// A value handed to a statement, in the server's binary form.
enum Parameter {
  case text(String)
  case bytes([UInt8])
  case number(UInt64)

  var bytes: [UInt8] {
    switch self {
    case .text(let text): Array(text.utf8)
    case .bytes(let bytes): bytes
    // A revision fits into 63 bits; one that does not matches nothing.
    case .number(let number): RecordRow.bigEndian(min(number, UInt64(Int64.max)))
    }
  }
}

/// A statement with its values.
struct Step {
  let statement: Statement
  var parameters: [Parameter]

  init(_ statement: Statement, _ parameters: Parameter...) {
    self.statement = statement
    self.parameters = parameters
  }
}

/// What a statement answered.
struct Answer: Sendable {
  /// Rows of values, in the server's binary form; `nil` for NULL.
  var rows: [[[UInt8]?]] = []
  /// How many rows were changed.
  var changed = 0
  /// What was done: `COMMIT`, `ROLLBACK`, ….
  var tag = ""
}

extension [[UInt8]?] {
  /// The text of a column; `nil` for what is none.
  func text(_ index: Int) -> String? {
    guard indices.contains(index), let bytes = self[index] else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  /// The bytes of a column.
  func bytes(_ index: Int) -> [UInt8]? { indices.contains(index) ? self[index] : nil }

  /// The number of a column that is not negative; `nil` for what is none.
  func number(_ index: Int) -> UInt64? {
    guard let bytes = bytes(index), [2, 4, 8].contains(bytes.count), bytes[0] < 0x80 else { return nil }
    return bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }
}
