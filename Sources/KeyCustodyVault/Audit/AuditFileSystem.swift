#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The few calls of the operating system that the audit log makes, so that a test can let any of them fail or hang.
///
/// Every method may block.
package protocol AuditFileSystem: Sendable {
  /// Makes a folder that its owner alone can enter, if it is missing.
  func makeFolder(_ path: String) throws(AuditFileError)
  /// The names in a folder, in no order.
  func names(in folder: String) throws(AuditFileError) -> [String]
  /// Opens a file.
  func open(_ path: String, _ mode: AuditFileMode) throws(AuditFileError) -> Int32
  /// What is open: which file, and how long it is.
  func status(_ file: Int32) throws(AuditFileError) -> AuditFileStatus
  /// What stands at a path; `nil` when nothing does.
  func status(at path: String) throws(AuditFileError) -> AuditFileStatus?
  /// Up to `count` bytes from an offset on; fewer at the end of the file.
  func read(_ file: Int32, at offset: Int, count: Int) throws(AuditFileError) -> [UInt8]
  /// Adds some of the bytes at the end of the file; answers how many.
  func write(_ file: Int32, _ bytes: ArraySlice<UInt8>) throws(AuditFileError) -> Int
  /// Cuts a file to a length.
  func truncate(_ file: Int32, to length: Int) throws(AuditFileError)
  /// Brings a file, or the names in a folder, to the disk.
  func synchronize(_ file: Int32) throws(AuditFileError)
  /// Locks an open file for this opening alone; `false` when another one has it. Does not wait.
  func lock(_ file: Int32) throws(AuditFileError) -> Bool
  /// Closes a file.
  func close(_ file: Int32)
}

/// How a file is opened.
package enum AuditFileMode: Sendable {
  /// To read it.
  case reading
  /// To write at its end; it is made where it does not exist.
  case appending
  /// A folder, to synchronize it.
  case folder
}

/// Which file, and how long it is.
package struct AuditFileStatus: Sendable, Hashable {
  /// The disk it is on.
  package var device: UInt64
  /// Tells it from every other file of the disk.
  package var inode: UInt64
  /// How many bytes it has.
  package var length: Int
  /// What is known of a file.
  package init(device: UInt64, inode: UInt64, length: Int) {
    self.device = device
    self.inode = inode
    self.length = length
  }
}

/// A refusal of the operating system.
package struct AuditFileError: Error, Hashable, Sendable {
  /// Its number.
  package var code: Int32
  /// The call that failed.
  package var call: String
  /// A refusal.
  package init(code: Int32, call: String) {
    self.code = code
    self.call = call
  }
}

/// The operating system's own file system.
package struct POSIXAuditFileSystem: AuditFileSystem {
  /// The operating system's own file system.
  package init() {}

  package func makeFolder(_ path: String) throws(AuditFileError) {
    guard unsafe mkdir(path, 0o700) == 0 else {
      guard errno == EEXIST else { throw AuditFileError(code: errno, call: "mkdir") }
      return
    }
    // Its name, too, is to outlive a power cut.
    let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    let parent = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let file = try open(parent, .folder)
    defer { close(file) }
    try synchronize(file)
  }

  package func names(in folder: String) throws(AuditFileError) -> [String] {
    guard let stream = unsafe opendir(folder) else { throw AuditFileError(code: errno, call: "opendir") }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
      names.append(
        unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
          unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        })
      errno = 0
    }
    guard errno == 0 else { throw AuditFileError(code: errno, call: "readdir") }
    return names
  }

  package func open(_ path: String, _ mode: AuditFileMode) throws(AuditFileError) -> Int32 {
    // Appending in the system's sense too, so that the file may carry the attribute that allows nothing else.
    let flags =
      switch mode {
      case .reading: O_RDONLY | O_NOFOLLOW | O_NONBLOCK
      case .appending: O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW
      case .folder: O_RDONLY | O_DIRECTORY
      }
    return Int32(try repeating("open") { unsafe Int(Glibc.open(path, flags | O_CLOEXEC, 0o600)) })
  }

  package func status(_ file: Int32) throws(AuditFileError) -> AuditFileStatus {
    var found = stat()
    guard unsafe fstat(file, &found) == 0 else { throw AuditFileError(code: errno, call: "fstat") }
    return Self.status(found)
  }

  package func status(at path: String) throws(AuditFileError) -> AuditFileStatus? {
    var found = stat()
    guard unsafe lstat(path, &found) == 0 else {
      if errno == ENOENT { return nil }
      throw AuditFileError(code: errno, call: "lstat")
    }
    return Self.status(found)
  }

  private static func status(_ found: stat) -> AuditFileStatus {
    AuditFileStatus(
      device: UInt64(truncatingIfNeeded: found.st_dev), inode: UInt64(truncatingIfNeeded: found.st_ino),
      length: Int(found.st_size))
  }

  package func read(_ file: Int32, at offset: Int, count: Int) throws(AuditFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = try repeating("pread") {
        unsafe bytes.withUnsafeMutableBytes { buffer in
          unsafe pread(file, buffer.baseAddress.map { unsafe $0 + done }, count - done, off_t(offset + done))
        }
      }
      guard got > 0 else { break }
      done += got
    }
    if done < count { bytes.removeSubrange(done...) }
    return bytes
  }

  package func write(_ file: Int32, _ bytes: ArraySlice<UInt8>) throws(AuditFileError) -> Int {
    try repeating("write") {
      unsafe bytes.withUnsafeBytes { buffer in unsafe Glibc.write(file, buffer.baseAddress, buffer.count) }
    }
  }

  package func truncate(_ file: Int32, to length: Int) throws(AuditFileError) {
    _ = try repeating("ftruncate") { Int(ftruncate(file, off_t(length))) }
  }

  package func synchronize(_ file: Int32) throws(AuditFileError) { _ = try repeating("fsync") { Int(fsync(file)) } }

  package func lock(_ file: Int32) throws(AuditFileError) -> Bool {
    do throws(AuditFileError) {
      _ = try repeating("flock") { Int(flock(file, LOCK_EX | LOCK_NB)) }
      return true
    } catch {
      if error.code == EWOULDBLOCK { return false }
      throw error
    }
  }

  package func close(_ file: Int32) { _ = Glibc.close(file) }

  /// Repeats a call that a signal interrupted.
  private func repeating(_ call: String, _ body: () -> Int) throws(AuditFileError) -> Int {
    while true {
      let result = body()
      if result >= 0 { return result }
      if errno != EINTR { throw AuditFileError(code: errno, call: call) }
    }
  }
}
