import KeyCustody
import KeyCustodyCrypto

/// The file `revision`: revisions up to the number in it may have been given out.
///
/// It is raised by a block before the first revision of the block is given out, so that no revision comes twice, though
/// the file is not written with every change. `KCRV` ‖ format (1 byte, 1) ‖ number (8 bytes) ‖ SHA-256 of all before it.
struct RevisionFile {
  static let name = "revision"
  private static let magic = Array("KCRV".utf8) + [1]
  private static let block: UInt64 = 1000

  private let folder: DurableFolder
  private var reserved: UInt64
  /// The revision to go on from.
  let start: StoreRevision

  /// Reads the file of a store, or makes it.
  ///
  /// - Parameters:
  ///   - highest: the highest revision among the records.
  ///   - isNew: whether the store was made just now.
  ///   - now: where the file is lost or damaged, the revisions go on from this: no store makes 1,024 changes a
  ///     millisecond, so none that it gave out is as high. Until the year 2248 the number fits JSON's.
  init(_ folder: DurableFolder, highest: StoreRevision, isNew: Bool, now: Timestamp) throws(KeyCustodyError) {
    self.folder = folder
    if isNew {
      start = .zero
      reserved = 0
      try reserve(StoreRevision(1))
      return
    }
    let bytes = try folder.read(Self.name, limit: 1 << 10)
    let number = try bytes.flatMap { (bytes) throws(KeyCustodyError) in try Self.decode(bytes) }
    reserved = max(number ?? UInt64(max(now.milliseconds, 0)) << 10, highest.number)
    start = StoreRevision(reserved)
  }

  /// Makes sure that a revision may be given out.
  mutating func reserve(_ revision: StoreRevision) throws(KeyCustodyError) {
    guard revision.number > reserved else { return }
    let next = revision.number + Self.block
    let body = Self.magic + RecordFile.bigEndian(next, 8)
    try folder.replace(Self.name, body + (try Hashing.sha256(body)))
    reserved = next
  }

  private static func decode(_ bytes: [UInt8]) throws(KeyCustodyError) -> UInt64? {
    guard bytes.count == magic.count + 40, bytes.starts(with: magic) else { return nil }
    let body = Array(bytes.dropLast(32))
    guard try Hashing.sha256(body) == Array(bytes.suffix(32)) else { return nil }
    var number = body.dropFirst(magic.count)
    return RecordFile.take(8, &number)
  }
}
