internal import KeyCustody

extension [UInt8] {
  /// Makes an array of `count` bytes that `body` writes in place.
  @inline(__always)
  init(count: Int, writing body: (inout MutableRawSpan) throws(KeyCustodyError) -> Void) throws(KeyCustodyError) {
    var failure: KeyCustodyError?
    unsafe self.init(unsafeUninitializedCapacity: count) { buffer, initialized in
      do throws(KeyCustodyError) {
        var span = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(buffer)[..<count])
        try body(&span)
        initialized = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }

  /// Makes room for more bytes, in steps that double, so that filling an array bit by bit stays linear.
  mutating func reserve(_ additional: Int) {
    let needed = count + additional
    if capacity < needed { reserveCapacity(Swift.max(needed, 2 * capacity)) }
  }

  /// Appends `count` bytes that `body` writes in place; appends nothing when it throws.
  mutating func append(
    count: Int, writing body: (inout MutableRawSpan) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    reserve(count)
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
    reserve(source.byteCount)
    append(addingCapacity: source.byteCount) { (output: inout OutputSpan<UInt8>) in
      unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
        let free = unsafe UnsafeMutableRawBufferPointer(buffer)[initialized..<(initialized + source.byteCount)]
        unsafe source.withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(rebasing: free).copyMemory(from: $0) }
        initialized += source.byteCount
      }
    }
  }
}
