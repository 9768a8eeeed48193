import KeyCustody

/// The end of a log, to which records are added.
///
/// A record counts once its bytes are on the disk; what a failed write left behind it is cut before the next one.
/// Blocks.
struct AuditTail: Sendable {
  /// Where a log ends: what is needed to go on with it, and to sign it.
  struct Position: Sendable, Hashable {
    /// The tree over all records.
    var edge = MerkleEdge()
    /// The hash of the last record.
    var previous = AuditRecord.noPrevious
    /// The number of the file that is written.
    var file = 1
    /// How long that file is.
    var length = 0
  }

  private let folder: AuditFolder
  private let rotationSize: Int
  private(set) var position: Position
  private var open: (file: Int32, number: Int, status: AuditFileStatus)?
  /// Whether bytes may stand behind ``Position/length`` that do not count.
  private var isTorn = false
  /// A file of checkpoints that ends in part of one, and how long it was before.
  private var tornCheckpoint: (number: Int, length: Int)?
  /// The file of checkpoints whose name is on the disk for certain.
  private var namedCheckpoints: Int?
  /// Somebody else had a hand in the file: nothing is written any more.
  private var obstacle: KeyCustodyError?

  init(_ folder: AuditFolder, at position: Position, rotationSize: Int) {
    self.folder = folder
    self.position = position
    self.rotationSize = rotationSize
  }

  /// Adds records, on the disk when this returns.
  ///
  /// - Returns: whether a new file was begun.
  /// - Throws: `unavailable` (`audit-unavailable`), and then none of them counts.
  mutating func append(_ events: [AuditEvent]) throws(KeyCustodyError) -> Bool {
    if let obstacle { throw obstacle }
    let rotates = position.length >= rotationSize
    var next = position
    if rotates { (next.file, next.length) = (position.file + 1, 0) }
    var bytes: [UInt8] = []
    let kept = position.edge.size
    for event in events {
      let record = AuditRecord(number: next.edge.size, kept: kept, previous: next.previous, event: try event.bounded())
      let line = record.line
      next.previous = try MerkleTree.leaf(line)
      try next.edge.append(leaf: next.previous)
      bytes += line
      bytes.append(0x0a)
    }
    let path = folder.records(next.file)
    if rotates { close() }
    let file: Int32?
    do { file = try ready(next.file, length: next.length) } catch { throw AuditErrors.unavailable(error, path) }
    guard let file else { throw stop(path) }
    isTorn = true
    do throws(AuditFileError) {
      try write(bytes, to: file)
      try folder.system.synchronize(file)
    } catch {
      cut()
      throw AuditErrors.unavailable(error, path)
    }
    next.length += bytes.count
    try check(path, length: next.length)
    isTorn = false
    position = next
    return rotates
  }

  /// Adds a signed note to the checkpoints beside a file of records.
  mutating func append(_ checkpoint: AuditCheckpoint, file number: Int) throws(KeyCustodyError) {
    let path = folder.checkpoints(number)
    do throws(AuditFileError) {
      let file = try folder.system.open(path, .appending)
      defer { folder.system.close(file) }
      if let torn = tornCheckpoint, torn.number == number {
        try folder.system.truncate(file, to: torn.length)
        tornCheckpoint = nil
      }
      tornCheckpoint = (number, try folder.system.status(file).length)
      try write(Array("\(checkpoint.note)\n".utf8), to: file)
      try folder.system.synchronize(file)
      if namedCheckpoints != number {
        try folder.synchronize()
        namedCheckpoints = number
      }
      tornCheckpoint = nil
    } catch { throw AuditErrors.unavailable(error, path) }
  }

  mutating func close() {
    if let open { folder.system.close(open.file) }
    open = nil
  }

  /// The open file, as long as it should be; `nil` when somebody else changed it.
  private mutating func ready(_ number: Int, length: Int) throws(AuditFileError) -> Int32? {
    let file: Int32
    if let open {
      file = open.file
    } else {
      file = try folder.system.open(folder.records(number), .appending)
      do throws(AuditFileError) {
        // New or not: an attempt that failed, or was killed, may have made it, and its name is on no disk.
        try folder.synchronize()
        open = (file, number, try folder.system.status(file))
      } catch {
        folder.system.close(file)
        throw error
      }
      // One begun before, by a write that failed, holds nothing that counts.
      isTorn = isTorn || number != position.file
    }
    let found = try folder.system.status(file).length
    guard found == length || found > length && isTorn else { return nil }
    if isTorn {
      try folder.system.truncate(file, to: length)
      try folder.system.synchronize(file)
      isTorn = false
    }
    return file
  }

  private func write(_ bytes: [UInt8], to file: Int32) throws(AuditFileError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = try folder.system.write(file, rest)
      guard count > 0 else { throw AuditFileError(code: 0, call: "write") }
      rest = rest.dropFirst(count)
    }
  }

  /// Takes back what a failed write left, if the disk lets us; if not, the next one does.
  private mutating func cut() {
    guard let open else { return }
    let length = open.number == position.file ? position.length : 0
    guard (try? folder.system.truncate(open.file, to: length)) != nil else { return }
    // What the disk has after a failed synchronization is unknown: the next write begins with a fresh opening.
    close()
  }

  /// Whether what was written is where the next opening will look for it, and all of it.
  private mutating func check(_ path: String, length: Int) throws(KeyCustodyError) {
    guard let open else { return }
    let found: AuditFileStatus?
    do { found = try folder.system.status(at: path) } catch { throw AuditErrors.unavailable(error, path) }
    guard found == AuditFileStatus(device: open.status.device, inode: open.status.inode, length: length) else {
      throw stop(path)
    }
  }

  /// Writes nothing any more: it would go where nobody finds it, or hide what somebody did.
  private mutating func stop(_ path: String) -> KeyCustodyError {
    let error = AuditErrors.changedByOthers(path)
    obstacle = error
    return error
  }
}
