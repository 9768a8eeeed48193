import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A folder of a few small files that are whole or not there: written beside, brought to the disk, then put in place.
///
/// Blocks.
struct CertificateFolder {
  /// The absolute or relative path.
  let path: String
  /// Far more than any of the files has.
  private static let largest = 64 << 10

  func file(_ name: String) -> String { "\(path)/\(name)" }
  private func part(_ name: String) -> String { "\(path)/\(name).part" }

  /// Makes the folder, for this user alone, if it is missing.
  func make() throws(KeyCustodyError) {
    guard unsafe mkdir(path, 0o700) != 0 else { return }
    guard errno == EEXIST else { throw failure("mkdir", path) }
  }

  /// Keeps everybody else who asks for it, in this process or another, out of the folder.
  ///
  /// Where the file system has no locks nobody is kept out.
  func locked<Result>(_ body: () throws(KeyCustodyError) -> Result) throws(KeyCustodyError) -> Result {
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", path) }
    defer {
      // A copy of this process that fork made meanwhile would hold the lock on.
      _ = flock(descriptor, LOCK_UN)
      close(descriptor)
    }
    while flock(descriptor, LOCK_EX) != 0 && errno == EINTR {}
    return try body()
  }

  /// A whole file; `nil` when there is none.
  ///
  /// - Throws: `integrityFailure` (`damaged`) for what is no regular file or far too long; `denied` for a private file
  ///   that others may read.
  func read(_ name: String, isPrivate: Bool) throws(KeyCustodyError) -> SecretBytes? {
    let path = file(name)
    // Not blocking: a pipe would wait for its writer before it could be refused.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw failure("open", path)
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw failure("fstat", path) }
    guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.largest else {
      throw KeyCustodyError(
        .integrityFailure, .damaged, "'\(path)' is not a small regular file.", remedy: "Move it out of the folder.")
    }
    guard !isPrivate || status.st_mode & 0o077 == 0 else {
      throw KeyCustodyError(
        .denied, .unreachable, "The private key in '\(path)' may be used by others than its owner.",
        remedy: "Find out who could read it; then: chmod 600 '\(path)'.")
    }
    let size = Int(status.st_size)
    return try SecretBytes(count: size) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      var done = 0
      unsafe output.withUnsafeMutableBytes { buffer in
        while done < size {
          let got = unsafe pread(descriptor, buffer.baseAddress.map { unsafe $0 + done }, size - done, off_t(done))
          if got < 0 && errno == EINTR { continue }
          guard got > 0 else { break }
          done += got
        }
      }
      guard done == size else { throw failure("read", path) }
    }
  }

  /// Brings a file to the disk beside its place.
  func stage(_ name: String, _ bytes: RawSpan, isPrivate: Bool) throws(KeyCustodyError) {
    let path = part(name)
    discard(name)
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failure("open", file(name)) }
    // Not left to the process's mask: a server may run as another user than whoever reads the certificate.
    var isWritten = isPrivate || fchmod(descriptor, 0o644) == 0
    unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while isWritten && done < buffer.count {
        let wrote = unsafe write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
        if wrote < 0 && errno == EINTR { continue }
        isWritten = wrote > 0
        done += max(0, wrote)
      }
    }
    isWritten = isWritten && fsync(descriptor) == 0
    isWritten = close(descriptor) == 0 && isWritten
    guard isWritten else {
      let error = failure("write", file(name))
      discard(name)
      throw error
    }
  }

  /// Puts files that are on the disk in their places, one right after the other, and then brings that to the disk.
  func place(_ names: [String]) throws(KeyCustodyError) {
    for name in names {
      guard unsafe rename(part(name), file(name)) == 0 else {
        let error = failure("rename", file(name))
        names.forEach(discard)
        throw error
      }
    }
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("fsync", path) }
  }

  /// Removes what an interrupted call left beside a file's place.
  func discard(_ name: String) { unsafe unlink(part(name)) }

  private func failure(_ function: String, _ path: String) -> KeyCustodyError {
    let code = errno
    let diagnostic = "\(function) errno \(code)"
    return switch code {
    case ENOENT:
      KeyCustodyError(
        .notFound, .unreachable, "The folder '\(path)' can't be made: the one it belongs into is not there.",
        remedy: "Make that one first (mkdir -p), or check the path and that its file system is mounted.",
        diagnostic: diagnostic)
    case EACCES, EPERM, EROFS:
      KeyCustodyError(
        .denied, .unreachable, "'\(path)' may not be used by this process.",
        remedy: "Its owner can change its permissions.", diagnostic: diagnostic)
    default:
      KeyCustodyError(
        .unavailable, .unreachable, "'\(path)' can't be read or written.",
        remedy: "Look at the disk: is it full, or gone? Is something else in the place of that file?",
        diagnostic: diagnostic)
    }
  }
}
