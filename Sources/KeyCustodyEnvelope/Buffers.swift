internal import KeyCustody

extension [UInt8] {
  /// Appends `count` bytes that `body` writes in place; appends nothing when it throws.
  mutating func append(
    count: Int, writing body: (inout MutableRawSpan) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    try append(addingCapacity: count) { (output: inout OutputSpan<UInt8>) throws(KeyCustodyError) in
      try unsafe output.withUnsafeMutableBufferPointer { (buffer, initialized) throws(KeyCustodyError) in
        let free = unsafe UnsafeMutableRawBufferPointer(buffer)[initialized..<(initialized + count)]
        var span = unsafe MutableRawSpan(_unsafeBytes: free)
        try body(&span)
        initialized += count
      }
    }
  }

  /// Appends a copy of lent bytes.
  mutating func append(copying source: RawSpan) {
    append(addingCapacity: source.byteCount) { (output: inout OutputSpan<UInt8>) in
      unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
        let free = unsafe UnsafeMutableRawBufferPointer(buffer)[initialized..<(initialized + source.byteCount)]
        unsafe source.withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(rebasing: free).copyMemory(from: $0) }
        initialized += source.byteCount
      }
    }
  }
}
