/// Key material, a PIN or a passphrase: raw memory that has one owner, is lent and never copied by accident, and is
/// cleared when its owner lets go.
///
/// It is not `Codable`, `Hashable` or printable; interpolating one into a string does not compile. Keep it in a local,
/// a stored property of a class with a `deinit`, or a `Mutex<SecretBytes?>`; never in a global, an array or `Data`.
/// It lies in memory that is locked against swap and left out of core dumps as far as the system allows
/// (``SecretMemory``).
@safe
public struct SecretBytes: ~Copyable, @unchecked Sendable {
  // Unchecked: the allocation is written only before `init` returns and then only read until `deinit`.
  private let base: UnsafeMutableRawPointer
  private let origin: SecretPool.Origin
  // Small, as there may be hundreds of thousands.
  private let length: UInt32
  /// The number of bytes.
  public var count: Int { Int(length) }

  /// Allocates `count` zero bytes (less than 4 GiB, or it traps) and lets `body` fill them in place.
  public init<Failure: Error>(
    count: Int, initializingWith body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    length = UInt32(count)
    let (pointer, origin) = unsafe SecretPool.current.pointee.take(count)
    var span = unsafe MutableRawSpan(_unsafeStart: pointer, byteCount: count)
    do { try body(&span) } catch {
      unsafe SecretPool.current.pointee.giveBack(pointer, count, origin)
      throw error
    }
    unsafe self.base = unsafe pointer
    self.origin = origin
  }

  /// Copies bytes that are already in ordinary memory; the caller answers for clearing the source.
  public init(copying source: RawSpan) {
    self.init(count: source.byteCount) { target in
      unsafe source.withUnsafeBytes { from in
        unsafe target.withUnsafeMutableBytes { to in unsafe to.copyMemory(from: from) }
      }
    }
  }

  /// Copies bytes that are already in an array; the array can't be cleared, so use it only for what is read that way.
  public init(copying source: [UInt8]) { self.init(copying: unsafe source.span.bytes) }

  /// Lends the bytes for the length of `body`.
  public func withBytes<Result: ~Copyable, Failure: Error>(
    _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(unsafe RawSpan(_unsafeStart: base, byteCount: count))
  }

  /// A second owner of the same bytes; each is cleared on its own.
  public func copy() -> SecretBytes { withBytes { bytes in SecretBytes(copying: bytes) } }

  /// Compares in a time that depends on the lengths alone.
  public func isEqual(to other: borrowing SecretBytes) -> Bool {
    withBytes { left in other.withBytes { right in constantTimeEqual(left, right) } }
  }

  deinit { unsafe SecretPool.current.pointee.giveBack(base, count, origin) }
}

extension RawSpan {
  /// One byte; traps outside the bounds.
  package subscript(_ offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < byteCount)
    return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }
}

/// Compares two byte sequences in a time that depends on their lengths alone.
public func constantTimeEqual(_ left: RawSpan, _ right: RawSpan) -> Bool {
  guard left.byteCount == right.byteCount else { return false }
  var difference: UInt8 = 0
  for offset in 0..<left.byteCount {
    difference |= left[offset] ^ right[offset]
  }
  return difference == 0
}

/// Compares two byte arrays in a time that depends on their lengths alone.
public func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
  unsafe constantTimeEqual(left.span.bytes, right.span.bytes)
}
