public import KeyCustody

/// Bytes of a known number that can be read anywhere: a file, a blob in a store, the inside of a sealed object.
public protocol RandomAccessBytes: Sendable {
  /// The number of bytes. It does not change.
  var size: Int64 { get }

  /// Reads `count` bytes from `offset`, fewer only where the end comes first.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) for negative numbers; `unavailable` when they can't be read.
  func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8]
}

extension RandomAccessBytes {
  /// Reads `count` bytes from `offset`, all of them.
  ///
  /// - Throws: `integrityFailure` (`truncated`) where the end comes first.
  func readAll(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let bytes = try await read(at: offset, count: count)
    guard bytes.count == count else { throw truncated("The sealed object") }
    return bytes
  }

  /// The part of a request that lies within the bytes.
  func clamped(at offset: Int64, count: Int) throws(KeyCustodyError) -> Range<Int64> {
    guard offset >= 0, count >= 0 else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A read begins at 0 or later and asks for 0 bytes or more.")
    }
    let start = min(offset, size)
    return start..<(start + min(Int64(count), size - start))
  }
}
