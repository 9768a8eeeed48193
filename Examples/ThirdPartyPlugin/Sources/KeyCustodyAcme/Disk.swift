package import FoundationEssentials
import Glibc

/// The few calls that the key file makes, so that a test can let any of them fail.
package protocol Disk: Sendable {
  /// Locks a file, which is made where it is not there; `nil` when somebody else has it locked.
  func lock(_ path: String) throws(DiskFailure) -> Int32?
  /// Lets go of a lock.
  func unlock(_ lock: Int32)
  /// Reads a file; `nil` when it is not there.
  func read(_ path: String) throws(DiskFailure) -> Data?
  /// Writes a file and brings it to the disk.
  func write(_ bytes: Data, to path: String) throws(DiskFailure)
  /// Gives a file another name, in place of whatever had it.
  func rename(_ path: String, to name: String) throws(DiskFailure)
  /// Brings the names of a file's folder to the disk.
  func synchronizeFolder(of path: String) throws(DiskFailure)
}

/// What the operating system refused.
package struct DiskFailure: Error {
  package var call: String
  package var number: Int32

  package init(_ call: String, _ number: Int32 = errno) {
    self.call = call
    self.number = number
  }
}

/// The machine's disk.
package struct SystemDisk: Disk {
  package init() {}

  package func lock(_ path: String) throws(DiskFailure) -> Int32? {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw DiskFailure("open") }
    if flock(file, LOCK_EX | LOCK_NB) == 0 { return file }
    Glibc.close(file)
    return nil
  }

  package func unlock(_ lock: Int32) { Glibc.close(lock) }

  package func read(_ path: String) throws(DiskFailure) -> Data? {
    guard access(path, F_OK) == 0 else {
      if errno == ENOENT { return nil }
      throw DiskFailure("access")
    }
    do { return try Data(contentsOf: URL(filePath: path)) } catch { throw DiskFailure("read") }
  }

  package func write(_ bytes: Data, to path: String) throws(DiskFailure) {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw DiskFailure("open") }
    defer { Glibc.close(file) }
    let wrote = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    guard wrote == bytes.count, fsync(file) == 0 else { throw DiskFailure("write") }
  }

  package func rename(_ path: String, to name: String) throws(DiskFailure) {
    guard Glibc.rename(path, name) == 0 else { throw DiskFailure("rename") }
  }

  package func synchronizeFolder(of path: String) throws(DiskFailure) {
    let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    let folder = open(parent.isEmpty ? "/" : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { throw DiskFailure("open") }
    defer { Glibc.close(folder) }
    guard fsync(folder) == 0 else { throw DiskFailure("fsync") }
  }
}
