package import KeyCustody

extension SealedRow {
  /// What databases keep beside a row, so that damage of what is in clear is noticed when rows are listed: SHA-256 of the
  /// revision and the size (8 bytes each), the lengths of resource, name and head (4 bytes each), these three and the
  /// label.
  ///
  /// The sealed bytes authenticate themselves when they are opened.
  package func digest(in resource: ResourceID) throws(KeyCustodyError) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(28 + resource.folded.utf8.count + name.utf8.count + head.count + label.count)
    func append(_ number: UInt64, _ count: Int) {
      for shift in stride(from: 8 * (count - 1), through: 0, by: -8) {
        bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
      }
    }
    append(revision, 8)
    append(UInt64(size), 8)
    append(UInt64(resource.folded.utf8.count), 4)
    append(UInt64(name.utf8.count), 4)
    append(UInt64(head.count), 4)
    bytes += resource.folded.utf8
    bytes += name.utf8
    bytes += head
    bytes += label
    return try Hashing.sha256(bytes)
  }

  /// A number for the revision of a row: of 63 random bits, so that none comes again.
  package static func newRevision(_ random: any RandomSource) throws(KeyCustodyError) -> UInt64 {
    let number = try random.bytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } >> 1
    return max(number, 1)
  }
}
