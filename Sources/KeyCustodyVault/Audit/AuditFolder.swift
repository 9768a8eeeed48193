import KeyCustody

/// The files of an audit log: where they are, and how they are read, a piece at a time.
///
/// Blocks.
struct AuditFolder: Sendable {
  let path: String
  let system: any AuditFileSystem

  var lockPath: String { "\(path)/lock" }
  var keyPath: String { "\(path)/verifier.key" }
  func records(_ number: Int) -> String { "\(path)/\(Self.name(number)).jsonl" }
  func checkpoints(_ number: Int) -> String { "\(path)/\(Self.name(number)).checkpoints" }

  private static func name(_ number: Int) -> String {
    let digits = String(number)
    return "audit-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The numbers of the files of records, in order.
  func numbers() throws(KeyCustodyError) -> [Int] {
    let names: [String]
    do { names = try system.names(in: path) } catch { throw AuditErrors.unreadable(error, path) }
    return names.compactMap { name in
      guard name.hasPrefix("audit-"), name.hasSuffix(".jsonl"),
        let number = Int(name.dropFirst("audit-".count).dropLast(".jsonl".count)), number > 0,
        "\(Self.name(number)).jsonl" == name
      else { return nil }
      return number
    }.sorted()
  }

  /// A whole small file; `nil` when it is not there.
  func small(_ path: String, limit: Int = 256 << 20) throws(KeyCustodyError) -> [UInt8]? {
    do throws(AuditFileError) {
      guard let status = try system.status(at: path) else { return nil }
      guard status.length <= limit else { return [] }
      let file = try system.open(path, .reading)
      defer { system.close(file) }
      return try system.read(file, at: 0, count: status.length)
    } catch { throw AuditErrors.unreadable(error, path) }
  }

  /// Refuses a folder that holds records.
  func requireEmpty() throws(KeyCustodyError) {
    for number in try numbers() where try length(number) > 0 {
      throw KeyCustodyError(
        .invalidInput, .backendMismatch,
        "The folder '\(path)' holds an audit log that this policy store does not know by that name.",
        remedy: "Give the policy store and the origin it was begun with, or an empty folder.")
    }
  }

  /// How long a file of records is; 0 when it is not there.
  func length(_ number: Int) throws(KeyCustodyError) -> Int {
    let path = records(number)
    do { return try system.status(at: path)?.length ?? 0 } catch { throw AuditErrors.unreadable(error, path) }
  }

  /// Brings the names in the folder to the disk.
  func synchronize() throws(AuditFileError) {
    let file = try system.open(path, .folder)
    defer { system.close(file) }
    try system.synchronize(file)
  }
}

/// Lines of a file, one after the other, with a bounded piece of it in memory.
struct AuditLines: ~Copyable {
  /// A line as it stands in a file.
  struct Line {
    /// Without its end.
    var bytes: [UInt8]
    /// Where it begins.
    var offset: Int
    /// Whether it has an end, and a length that a record can have.
    var isWhole: Bool
  }

  private static let piece = 256 << 10
  private let system: any AuditFileSystem
  private let path: String
  private let file: Int32
  /// Where reading stops, though the file be longer.
  private let end: Int
  private var buffer: [UInt8] = []
  private var place = 0
  /// Where the buffer begins in the file.
  private var base: Int

  init(_ path: String, from offset: Int = 0, upTo end: Int? = nil, _ system: any AuditFileSystem)
    throws(KeyCustodyError)
  {
    self.system = system
    self.path = path
    base = offset
    let opened = try Self.open(path, system)
    file = opened.file
    self.end = min(end ?? .max, opened.length)
  }

  private static func open(
    _ path: String, _ system: any AuditFileSystem
  ) throws(KeyCustodyError) -> (file: Int32, length: Int) {
    do throws(AuditFileError) {
      let file = try system.open(path, .reading)
      do throws(AuditFileError) { return (file, try system.status(file).length) } catch {
        system.close(file)
        throw error
      }
    } catch { throw AuditErrors.unreadable(error, path) }
  }

  deinit { system.close(file) }

  /// The next line; `nil` at the end.
  mutating func next() throws(KeyCustodyError) -> Line? {
    let start = base + place
    while true {
      if let stop = buffer[place...].firstIndex(of: 0x0a) {
        let bytes = Array(buffer[place..<stop])
        place = stop + 1
        return Line(bytes: bytes, offset: start, isWhole: bytes.count <= AuditRecord.longestLine)
      }
      let rest = buffer.count - place
      // Too long to be a record: handed over in pieces that fit no one.
      guard rest <= Self.piece else {
        defer { place = buffer.count }
        return Line(bytes: Array(buffer[place...]), offset: start, isWhole: false)
      }
      let from = base + buffer.count
      let more: [UInt8]
      do { more = try system.read(file, at: from, count: max(0, min(Self.piece, end - from))) } catch {
        throw AuditErrors.unreadable(error, path)
      }
      if more.isEmpty {
        guard rest > 0 else { return nil }
        defer { place = buffer.count }
        return Line(bytes: Array(buffer[place...]), offset: start, isWhole: false)
      }
      base += place
      buffer.removeSubrange(..<place)
      place = 0
      buffer += more
    }
  }
}
