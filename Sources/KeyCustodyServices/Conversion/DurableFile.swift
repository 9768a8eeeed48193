import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Files that are whole or not there: written beside, brought to the disk, then put in place.
///
/// Blocks.
enum DurableFile {
  /// More than the two layers of the largest record: 1 MiB and their overhead.
  private static let largest = 2 << 20
  private static let system = POSIXFileSystem()

  /// A whole small file.
  static func read(_ path: String) throws(KeyCustodyError) -> [UInt8] {
    let (bytes, size) = try head(path, largest)
    guard size <= largest else {
      throw KeyCustodyError(
        .integrityFailure, .damaged, "The file '\(path)' has \(size) bytes, more than was ever written there.",
        remedy: "Restore it from a backup.")
    }
    return bytes
  }

  /// The first bytes of a file, and its size.
  static func head(_ path: String, _ limit: Int) throws(KeyCustodyError) -> ([UInt8], Int64) {
    // Not blocking: a pipe would wait for its writer before it could be refused.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw failure("open", path) }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw failure("fstat", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw KeyCustodyError(
        .integrityFailure, .damaged, "'\(path)' is not a regular file.", remedy: "Move it out of the folder.")
    }
    let count = min(Int(status.st_size), limit)
    var done = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      while done < count {
        let got = unsafe pread(descriptor, buffer.baseAddress.map { unsafe $0 + done }, count - done, off_t(done))
        if got < 0 && errno == EINTR { continue }
        guard got > 0 else { break }
        done += got
      }
      initialized = done
    }
    guard done == count else { throw failure("read", path) }
    return (bytes, Int64(status.st_size))
  }

  /// A name beside a file, for what is not yet in its place.
  static func temporaryName(beside path: String, random: any RandomSource) throws(KeyCustodyError) -> String {
    "\(path).\(try random.bytes(8).hexadecimal).part"
  }

  /// Writes a new file, on the disk when this returns.
  static func create(_ path: String, with bytes: [UInt8]) throws(KeyCustodyError) {
    do throws(SystemError) { try system.writeNew(path, bytes) } catch { throw failure(error, path) }
  }

  /// Puts files that are on the disk in their places, one right after the other, and then brings that to the disk.
  static func place(_ moves: [(from: String, to: String)]) throws(KeyCustodyError) {
    for move in moves {
      guard unsafe rename(move.from, move.to) == 0 else { throw failure("rename", move.to) }
    }
    if let last = moves.last { try synchronizeFolder(of: last.to) }
  }

  /// A second name for a file, whose content then stays whatever is put in its place.
  static func hold(_ path: String, as other: String) throws(KeyCustodyError) {
    guard unsafe link(path, other) == 0 else { throw failure("link", path) }
  }

  /// As ``hold(_:as:)``; `false` where the file system has no second names for this file.
  static func canHold(_ path: String, as other: String) throws(KeyCustodyError) -> Bool {
    if unsafe link(path, other) == 0 { return true }
    guard [EPERM, ENOTSUP, EOPNOTSUPP, EMLINK].contains(errno) else { throw failure("link", path) }
    return false
  }

  /// Removes a file that is in nobody's way; whether it was there does not matter.
  static func discard(_ path: String) { unsafe unlink(path) }

  /// Tells a file's content from any other by device, inode and time; `nil` when there is no file.
  static func mark(of path: String) throws(KeyCustodyError) -> [Int]? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      guard errno == ENOENT || errno == ENOTDIR else { throw failure("lstat", path) }
      return nil
    }
    return [
      Int(status.st_dev), Int(status.st_ino), Int(status.st_size), Int(status.st_mtim.tv_sec),
      Int(status.st_mtim.tv_nsec),
    ]
  }

  /// Keeps everybody else who asks for it, in this process or another, out of a folder.
  ///
  /// Where the file system has no locks, or there is no folder, nobody is kept out, which `body` is told.
  static func locked<Result>(
    _ folder: String, _ body: (_ isAlone: Bool) throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result {
    let descriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return try body(false) }
    defer {
      // A copy of this process that fork made meanwhile would hold the lock on.
      _ = flock(descriptor, LOCK_UN)
      close(descriptor)
    }
    var isAlone = false
    repeat { isAlone = flock(descriptor, LOCK_EX) == 0 } while !isAlone && errno == EINTR
    return try body(isAlone)
  }

  static func remove(_ path: String) throws(KeyCustodyError) {
    guard unsafe unlink(path) == 0 || errno == ENOENT else { throw failure("unlink", path) }
    try synchronizeFolder(of: path)
  }

  /// Makes a folder for this user alone, if it is missing.
  static func makeFolder(_ path: String) throws(KeyCustodyError) {
    guard unsafe mkdir(path, 0o700) != 0 else { return try synchronizeFolder(of: path) }
    guard errno == EEXIST else { throw failure("mkdir", path) }
  }

  /// Makes an empty file, on the disk with its name, unless there is one.
  static func makeEmpty(_ path: String) throws(KeyCustodyError) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      guard errno == EEXIST else { throw failure("open", path) }
      return
    }
    close(descriptor)
    try synchronizeFolder(of: path)
  }

  /// The names in a folder; none where there is no folder.
  static func list(_ path: String) throws(KeyCustodyError) -> [String] {
    guard let folder = unsafe opendir(path) else {
      if errno == ENOENT { return [] }
      throw failure("opendir", path)
    }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(folder) {
      names.append(
        unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
          unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        })
      errno = 0
    }
    // An end that is none would pass for a folder without the rest.
    guard errno == 0 else { throw failure("readdir", path) }
    return names
  }

  /// Brings the names in a folder to the disk; where a file system has no such thing, nothing in it changes either.
  static func synchronize(_ folder: String) throws(KeyCustodyError) {
    do throws(SystemError) { try system.synchronizeFolder(of: "\(folder)/.") } catch {
      guard error.code == EINVAL else { throw failure(error, folder) }
    }
  }

  private static func synchronizeFolder(of path: String) throws(KeyCustodyError) {
    do throws(SystemError) { try system.synchronizeFolder(of: path) } catch { throw failure(error, path) }
  }

  /// The place that a temporary file is for: what is in nobody's way is in nobody's messages.
  private static func final(_ path: String) -> String {
    // A dot, 16 digits and the ending.
    path.hasSuffix(".part") && path.utf8.count > 22 ? String(path.dropLast(22)) : path
  }

  private static func failure(_ function: String, _ path: String) -> KeyCustodyError {
    failure(SystemError(code: errno, call: function), path)
  }

  private static func failure(_ error: SystemError, _ path: String) -> KeyCustodyError {
    let (code, function, path) = (error.code, error.call, final(path))
    return switch code {
    case ENOENT where function == "mkdir":
      KeyCustodyError(
        .notFound, .unreachable, "The folder '\(path)' can't be made: the one it belongs into is not there.",
        remedy: "Make that one first (mkdir -p), or check the path and that its file system is mounted.",
        diagnostic: "\(function) errno \(code)")
    case ENOENT:
      KeyCustodyError(
        .notFound, .unreachable, "There is no file '\(path)'.",
        remedy: "Check the path, and that its file system is mounted.", diagnostic: "\(function) errno \(code)")
    case EACCES, EPERM, EROFS:
      KeyCustodyError(
        .denied, .unreachable, "The file '\(path)' may not be used by this process.",
        remedy: "Its owner can change its permissions.", diagnostic: "\(function) errno \(code)")
    default:
      KeyCustodyError(
        .unavailable, .unreachable, "The file '\(path)' can't be read or written.",
        remedy: "Look at the disk: is it full, or gone?", diagnostic: "\(function) errno \(code)")
    }
  }
}
