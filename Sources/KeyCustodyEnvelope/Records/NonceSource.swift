internal import KeyCustody

/// Where the second half of a record's nonce comes from.
public enum NonceSource: String, Sendable, Hashable, CaseIterable {
  /// It counts up, for each first half that was drawn at random: the fastest way, and no nonce ever repeats, in this
  /// process or in copies that `fork` makes of it.
  ///
  /// A virtual machine that is copied while it runs counts on twice: don't copy one that holds a lease.
  case counted
  /// It is drawn at random for each record: for machines that may be copied while they run.
  ///
  /// With the random first half that is 192 random bits (XAES-256-GCM allows 2^80 records so); under one first half, as
  /// in copies of a machine, 96, of which 2^32 collide with a probability of 2^-33. A record costs about a microsecond
  /// more. An *object* that is being sealed while the machine is copied would go on twice under its one key: start such
  /// objects anew.
  case random

  /// Twelve bytes.
  static func draw(_ random: any RandomSource) throws(KeyCustodyError) -> InlineArray<3, UInt32> {
    let drawn = try random.bytes(12)
    let bytes = unsafe drawn.span.bytes
    return unsafe [
      bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self),
      bytes.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt32.self),
      bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt32.self),
    ]
  }
}
