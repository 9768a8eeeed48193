import KeyCustody
import KeyCustodyCrypto

/// The file `revision`: revisions below the number in it may have been given out.
///
/// It is raised by a block before the first revision of the block is given out, so that no revision comes twice, though
/// the file is not written with every change. `KCRV` ‖ format (1 byte, 1) ‖ number (8 bytes) ‖ SHA-256 of all before it.
struct RevisionFile {
  static let name = "revision"
  private static let magic = Array("KCRV".utf8) + [1]
  private static let block: UInt64 = 1000
  /// Skipped where the file is lost or damaged: more revisions than can have been given out since it was whole.
  private static let leap: UInt64 = 1 << 32

  private let folder: DurableFolder
  private var reserved: UInt64

  /// Reads the file, and gives the revision to go on from.
  ///
  /// - Parameter highest: the highest revision among the records.
  init(_ folder: DurableFolder, highest: StoreRevision, isNew: Bool) throws(KeyCustodyError) {
    self.folder = folder
    let bytes = try folder.read(Self.name, limit: 1 << 10)
    if let number = try bytes.flatMap({ (bytes) throws(KeyCustodyError) in try Self.decode(bytes) }) {
      reserved = max(number, highest.number)
    } else if bytes == nil && isNew {
      reserved = 0
    } else {
      reserved = highest.number + Self.leap
    }
  }

  /// The revision to go on from.
  var start: StoreRevision { StoreRevision(reserved) }

  /// Makes sure that a revision may be given out.
  mutating func reserve(_ revision: StoreRevision) throws(KeyCustodyError) {
    guard revision.number > reserved || isUntouched else { return }
    let next = revision.number + Self.block
    let body = Self.magic + RecordFile.bigEndian(next, 8)
    try folder.replace(Self.name, body + (try Hashing.sha256(body)))
    reserved = next
    isUntouched = false
  }
  private var isUntouched = true

  private static func decode(_ bytes: [UInt8]) throws(KeyCustodyError) -> UInt64? {
    guard bytes.count == magic.count + 40, bytes.starts(with: magic) else { return nil }
    let body = Array(bytes.dropLast(32))
    guard try Hashing.sha256(body) == Array(bytes.suffix(32)) else { return nil }
    var number = body.dropFirst(magic.count)
    return RecordFile.take(8, &number)
  }
}
