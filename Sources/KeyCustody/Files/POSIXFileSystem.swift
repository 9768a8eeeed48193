#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The operating system's own file system.
package struct POSIXFileSystem: FileSystem {
  private let process = ForkCounter.current

  /// The operating system's own file system.
  package init() {}

  package func status(_ path: String, followingLink: Bool) throws(SystemError) -> FileStatus? {
    var found = stat()
    let code = unsafe fstatat(AT_FDCWD, path, &found, followingLink ? 0 : AT_SYMLINK_NOFOLLOW)
    if code != 0 && errno == ENOENT { return nil }
    try check(code, "stat")
    return FileStatus(
      isFolder: found.st_mode & S_IFMT == S_IFDIR, isFile: found.st_mode & S_IFMT == S_IFREG,
      permissions: UInt32(found.st_mode & 0o7777), owner: found.st_uid, inode: UInt64(found.st_ino),
      written: UInt64(truncatingIfNeeded: found.st_mtim.tv_sec * 1_000_000_000 + found.st_mtim.tv_nsec))
  }

  package func makeFolder(_ path: String) throws(SystemError) { try check(unsafe mkdir(path, 0o700), "mkdir") }

  package func names(in folder: String) throws(SystemError) -> [String] {
    guard let stream = unsafe opendir(folder) else { throw SystemError(code: errno, call: "opendir") }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
      errno = 0
    }
    guard errno == 0 else { throw SystemError(code: errno, call: "readdir") }
    return names
  }

  package func open(_ path: String, _ mode: OpenMode) throws(SystemError) -> Int32 {
    let flags =
      switch mode {
      case .reading: O_RDONLY
      case .creating: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
      case .folder: O_RDONLY | O_DIRECTORY
      case .locking: O_RDWR | O_CREAT | O_NOFOLLOW
      }
    let file = try repeating("open") { unsafe Int(Glibc.open(path, flags | O_CLOEXEC, 0o600)) }
    return Int32(file)
  }

  package func length(_ file: Int32) throws(SystemError) -> Int {
    var found = stat()
    try check(unsafe fstat(file, &found), "fstat")
    return Int(found.st_size)
  }

  package func read(
    _ file: Int32, into buffer: inout MutableRawSpan, at offset: Int
  ) throws(SystemError) -> Int {
    try unsafe buffer.withUnsafeMutableBytes { (bytes) throws(SystemError) in
      try repeating("read") {
        unsafe bytes.baseAddress.map { unsafe Glibc.read(file, $0 + offset, bytes.count - offset) } ?? 0
      }
    }
  }

  package func write(_ file: Int32, _ bytes: RawSpan) throws(SystemError) -> Int {
    try unsafe bytes.withUnsafeBytes { (bytes) throws(SystemError) in
      try repeating("write") { unsafe Glibc.write(file, bytes.baseAddress, bytes.count) }
    }
  }

  package func synchronize(_ file: Int32) throws(SystemError) { _ = try repeating("fsync") { Int(fsync(file)) } }

  package func close(_ file: Int32) {
    // A copy of this process that fork made shares the lock, and would hold it on; the copy itself leaves it alone.
    if process == ForkCounter.current { _ = flock(file, LOCK_UN) }
    _ = Glibc.close(file)
  }

  package func link(_ path: String, as name: String) throws(SystemError) {
    try check(unsafe Glibc.link(path, name), "link")
  }

  package func rename(_ path: String, to name: String) throws(SystemError) {
    try check(unsafe Glibc.rename(path, name), "rename")
  }

  package func remove(_ path: String) throws(SystemError) { try check(unsafe unlink(path), "unlink") }

  package func lock(_ file: Int32, _ kind: LockKind) throws(SystemError) -> Bool {
    do {
      _ = try repeating("flock") { Int(flock(file, kind == .exclusive ? LOCK_EX | LOCK_NB : LOCK_SH)) }
      return true
    } catch {
      if error.code == EWOULDBLOCK { return false }
      throw error
    }
  }

  private func check(_ code: Int32, _ call: String) throws(SystemError) {
    guard code == 0 else { throw SystemError(code: errno, call: call) }
  }

  /// Repeats a call that a signal interrupted.
  private func repeating(_ call: String, _ body: () -> Int) throws(SystemError) -> Int {
    while true {
      let result = body()
      if result >= 0 { return result }
      if errno != EINTR { throw SystemError(code: errno, call: call) }
    }
  }
}
