internal import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An open file.
///
/// Its calls block: use it on a thread of its own only.
final class OpenFile: Sendable {
  private let descriptor: Int32
  private let path: String
  /// What messages call it.
  private let name: String
  private let status: FileStatus

  /// Opens a regular file for reading.
  init(reading path: String) throws(KeyCustodyError) {
    // Not blocking: a pipe would wait for its writer before it could be refused.
    descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    self.path = path
    name = path
    guard descriptor >= 0 else { throw systemError("open", path, errno) }
    let status: FileStatus
    do throws(KeyCustodyError) {
      status = try FileStatus(descriptor: descriptor, path: path)
      try status.requireRegular(path)
    } catch {
      close(descriptor)
      throw error
    }
    // Last: with every property set, a throw would run `deinit` too, and close the descriptor a second time.
    self.status = status
  }

  /// Makes a file that was not there before, for this user alone.
  ///
  /// - Parameter name: what messages call it: that of a temporary file means nothing to who reads them.
  init(creating path: String, shownAs name: String) throws(KeyCustodyError) {
    descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    self.path = path
    self.name = name
    guard descriptor >= 0 else {
      let code = errno
      throw noFolder(for: name, code) ?? systemError("open", name, code)
    }
    do throws(KeyCustodyError) {
      status = try FileStatus(descriptor: descriptor, path: name)
    } catch {
      close(descriptor)
      throw error
    }
  }

  var size: Int64 { status.size }

  /// Appends up to `count` bytes; fewer only at the end of the file.
  func read(at offset: Int64, count: Int, into buffer: inout [UInt8]) throws(KeyCustodyError) {
    var failed: Int32 = 0
    buffer.append(addingCapacity: count) { (output: inout OutputSpan<UInt8>) in
      unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
        var done = 0
        while done < count {
          let free = unsafe UnsafeMutableRawBufferPointer(buffer)[(initialized + done)..<(initialized + count)]
          let target = unsafe UnsafeMutableRawBufferPointer(rebasing: free)
          let result = unsafe pread(descriptor, target.baseAddress, target.count, off_t(offset) + off_t(done))
          if result > 0 {
            done += result
          } else if result == 0 {
            break
          } else if errno != EINTR {
            failed = errno
            break
          }
        }
        initialized += done
      }
    }
    guard failed == 0 else { throw systemError("pread", name, failed) }
  }

  /// All of `count` bytes if the system has them in memory, without ever waiting for a disk; `nil` if not, or if this
  /// file system can't tell.
  func readCached(at offset: Int64, count: Int) -> [UInt8]? {
    guard let preadv2 = unsafe CachedRead.function else { return nil }
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      var vector = unsafe iovec(iov_base: buffer.baseAddress, iov_len: count)
      initialized = max(unsafe preadv2(descriptor, &vector, 1, off_t(offset), CachedRead.doNotWait), 0)
    }
    return bytes.count == count ? bytes : nil
  }

  /// Writes all bytes from an offset on.
  func write(_ bytes: [UInt8], at offset: Int64) throws(KeyCustodyError) {
    let failed = unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
        let result = unsafe pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
        if result >= 0 { done += result } else if errno != EINTR { return errno }
      }
      return 0
    }
    guard failed == 0 else { throw systemError("pwrite", name, failed) }
  }

  /// Gives the file the permissions of another.
  func setPermissions(_ mode: mode_t) throws(KeyCustodyError) {
    guard fchmod(descriptor, mode & 0o777) == 0 else { throw systemError("fchmod", name, errno) }
  }

  /// Waits until the bytes are on stable storage.
  func synchronize() throws(KeyCustodyError) {
    guard fsync(descriptor) == 0 else { throw systemError("fsync", name, errno) }
  }

  /// Throws `unavailable` (`source-changed`) unless the file is what it was at opening, and still stands at its path.
  func requireUnchanged() throws(KeyCustodyError) {
    let now = try FileStatus(descriptor: descriptor, path: name)
    guard now == status, FileStatus(path: path)?.isSameFile(as: status) == true else { throw changed() }
  }

  /// What is said of a file that did not stay what it was.
  func changed() -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .sourceChanged, "\(shown(name)) was changed, replaced or removed while it was read.",
      remedy: "Try again when nobody writes to it. Nothing was written.")
  }

  deinit { close(descriptor) }
}

/// Linux's `preadv2` (4.14 and later), which Swift's view of the C library lacks: looked up by its name.
private enum CachedRead {
  typealias Function = @convention(c) (Int32, UnsafePointer<iovec>, Int32, off_t, Int32) -> Int
  /// RWF_NOWAIT.
  static let doNotWait: Int32 = 8
  // Unsafe: a pointer to a function becomes one of its documented type.
  static let function: Function? = unsafe dlsym(nil, "preadv2").map { unsafe unsafeBitCast($0, to: Function.self) }
}

/// What tells one state of a file from another.
struct FileStatus: Equatable, Sendable {
  let device: UInt64
  let inode: UInt64
  let size: Int64
  let mode: mode_t
  private let modified: [Int]

  init(descriptor: Int32, path: String) throws(KeyCustodyError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw systemError("fstat", path, errno) }
    self.init(status)
  }

  /// What stands at a path, without following a link there; `nil` when that can't be told.
  init?(linkAt path: String) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  /// What stands at a path; `nil` when that can't be told.
  init?(path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  private init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int64(status.st_size)
    mode = status.st_mode
    modified = [
      Int(status.st_mtim.tv_sec), Int(status.st_mtim.tv_nsec),
    ]
  }

  func isSameFile(as other: FileStatus) -> Bool { device == other.device && inode == other.inode }

  func requireRegular(_ path: String) throws(KeyCustodyError) {
    guard mode & S_IFMT == S_IFREG else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "\(shown(path)) is not a regular file.",
        remedy: "Name a regular file; for pipes and devices use a stream.")
    }
  }
}

/// A path for a message: bounded, and without control characters.
func shown(_ path: String) -> String {
  "'" + String(path.unicodeScalars.suffix(200).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) }) + "'"
}

/// What is said of a file that can't be made because of its folder; `nil` for another cause.
private func noFolder(for path: String, _ code: Int32) -> KeyCustodyError? {
  guard code == ENOENT || code == ENOTDIR else { return nil }
  let end = path.lastIndex(of: "/")
  let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  let cause: String
  var remedy = "Name a target in a folder that takes files."
  if let status = FileStatus(path: folder) {
    cause = "\(shown(folder)) \(status.mode & S_IFMT == S_IFDIR ? "takes no files" : "is not a folder")"
  } else {
    cause = "there is no folder \(shown(folder))"
    remedy = "Make the folder (mkdir -p \(shown(folder))), or name a target in one that exists."
  }
  return KeyCustodyError(
    .notFound, .unreachable, "The target \(shown(path)) can't be written: \(cause).", remedy: remedy,
    diagnostic: "open errno \(code)")
}

/// What the operating system refused, in our words.
func systemError(_ function: StaticString, _ path: String, _ code: Int32) -> KeyCustodyError {
  let diagnostic = "\(function) errno \(code)"
  switch code {
  case ENOENT, ENOTDIR:
    return KeyCustodyError(
      .notFound, .unreachable, "There is no file \(shown(path)).",
      remedy: path.hasPrefix("/")
        ? "Check the path, and that its file system is mounted."
        : "Check the path: it begins at the folder that the process runs in.",
      diagnostic: diagnostic)
  case EACCES, EPERM, EROFS:
    return KeyCustodyError(
      .denied, .unreachable, "\(shown(path)) may not be read or written by this process.",
      remedy: "The owner of the file or folder can change its permissions.", diagnostic: diagnostic)
  case ENOSPC, EDQUOT, EFBIG:
    return KeyCustodyError(
      .unavailable, .unreachable, "There is no room for \(shown(path)).", remedy: "Free some space and try again.",
      diagnostic: diagnostic)
  case EISDIR, ELOOP, ENAMETOOLONG:
    return KeyCustodyError(
      .invalidInput, .malformed, "\(shown(path)) is not a file that can be used here.", diagnostic: diagnostic)
  default:
    return KeyCustodyError(
      .unavailable, .unreachable, "\(shown(path)) can't be read or written.", diagnostic: diagnostic)
  }
}
