#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// How values become records, and records values: JSON without white space, its members in byte order of their names.
struct RecordForm<Value: Sendable>: Sendable {
  let read: @Sendable ([UInt8]) throws -> Value
  let write: @Sendable (Value) throws -> [UInt8]

  /// By `Codable`.
  static func codable() -> Self where Value: Codable {
    Self(
      read: { try JSONDecoder().decode(Value.self, from: Data($0)) },
      write: { value in
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
      })
  }

  /// As the value itself does it.
  static func selfCoded() -> Self where Value: JSONCoded {
    Self(
      read: { try Value(json: JSON($0)) },
      write: { value in
        var writer = JSONWriter(capacity: 4096)
        value.write(to: &writer)
        // Without the room that it had to grow: stores keep what they are given.
        return Array(writer.bytes[...])
      })
  }
}
