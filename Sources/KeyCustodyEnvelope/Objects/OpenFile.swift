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
  private let status: FileStatus

  /// Opens a regular file for reading.
  init(reading path: String) throws(KeyCustodyError) {
    // Not blocking: a pipe would wait for its writer before it could be refused.
    descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    self.path = path
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
  init(creating path: String) throws(KeyCustodyError) {
    descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    self.path = path
    guard descriptor >= 0 else { throw systemError("open", path, errno) }
    do throws(KeyCustodyError) {
      status = try FileStatus(descriptor: descriptor, path: path)
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
    guard failed == 0 else { throw systemError("pread", path, failed) }
  }

  /// Writes all bytes at the current end.
  func write(_ bytes: [UInt8]) throws(KeyCustodyError) {
    let failed = unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
        #if canImport(Glibc)
          let result = unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
        #else
          let result = unsafe Musl.write(descriptor, rest.baseAddress, rest.count)
        #endif
        if result >= 0 { done += result } else if errno != EINTR { return errno }
      }
      return 0
    }
    guard failed == 0 else { throw systemError("write", path, failed) }
  }

  /// Gives the file the permissions of another.
  func setPermissions(_ mode: mode_t) throws(KeyCustodyError) {
    guard fchmod(descriptor, mode & 0o777) == 0 else { throw systemError("fchmod", path, errno) }
  }

  /// Waits until the bytes are on stable storage.
  func synchronize() throws(KeyCustodyError) {
    guard fsync(descriptor) == 0 else { throw systemError("fsync", path, errno) }
  }

  /// Throws `unavailable` (`source-changed`) unless the file is what it was at opening, and still stands at its path.
  func requireUnchanged() throws(KeyCustodyError) {
    let now = try FileStatus(descriptor: descriptor, path: path)
    guard now == status, FileStatus(path: path)?.isSameFile(as: status) == true else {
      throw KeyCustodyError(
        .unavailable, .sourceChanged, "\(shown(path)) was changed, replaced or removed while it was read.",
        remedy: "Try again when nobody writes to it. Nothing was written.")
    }
  }

  deinit { close(descriptor) }
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

/// What the operating system refused, in our words.
func systemError(_ function: StaticString, _ path: String, _ code: Int32) -> KeyCustodyError {
  let diagnostic = "\(function) errno \(code)"
  switch code {
  case ENOENT, ENOTDIR:
    return KeyCustodyError(.notFound, .unreachable, "There is no file \(shown(path)).", diagnostic: diagnostic)
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
