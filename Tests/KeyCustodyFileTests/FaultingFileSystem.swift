import KeyCustody
import KeyCustodyFile
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The real file system, with one call that fails; and a list of the calls that were made.
final class FaultingFileSystem: FileSystem {
  enum Fault: Sendable, CaseIterable {
    /// The disk fails once.
    case ioError
    /// The disk is full once.
    case diskFull
    /// Half of the bytes are written, and then the disk is full.
    case shortWrite
    /// The power goes: this call and all after it do nothing.
    case crash
  }

  private struct State {
    var calls: [String] = []
    var isFull = false
  }
  private let state = Mutex(State())
  private let real = POSIXFileSystem()
  private let fault: Fault?
  private let number: Int

  /// Lets the call of that number, counted from 1, fail.
  init(_ fault: Fault? = nil, at number: Int = 0) {
    self.fault = fault
    self.number = number
  }

  /// The calls made so far.
  var calls: [String] { state.withLock { $0.calls } }

  private func step(_ call: String, _ path: String = "") throws(SystemError) {
    let (count, isFull) = state.withLock { state in
      state.calls.append(path.isEmpty ? call : "\(call) \(path.split(separator: "/").last ?? "")")
      defer { state.isFull = false }
      return (state.calls.count, state.isFull)
    }
    if isFull { throw SystemError(code: ENOSPC, call: call) }
    switch fault {
    case .ioError where count == number: throw SystemError(code: EIO, call: call)
    case .diskFull where count == number: throw SystemError(code: ENOSPC, call: call)
    case .crash where count >= number: throw SystemError(code: EIO, call: call)
    default: break
    }
  }

  func status(_ path: String, followingLink: Bool) throws(SystemError) -> FileStatus? {
    try step("status", path)
    return try real.status(path, followingLink: followingLink)
  }
  func makeFolder(_ path: String) throws(SystemError) {
    try step("makeFolder", path)
    try real.makeFolder(path)
  }
  func names(in folder: String) throws(SystemError) -> [String] {
    try step("names", folder)
    return try real.names(in: folder)
  }
  func open(_ path: String, _ mode: OpenMode) throws(SystemError) -> Int32 {
    try step("open", path)
    return try real.open(path, mode)
  }
  func length(_ file: Int32) throws(SystemError) -> Int {
    try step("length")
    return try real.length(file)
  }
  func read(_ file: Int32, into buffer: inout MutableRawSpan, at offset: Int) throws(SystemError) -> Int {
    try step("read")
    return try real.read(file, into: &buffer, at: offset)
  }
  func write(_ file: Int32, _ bytes: RawSpan) throws(SystemError) -> Int {
    try step("write")
    guard fault == .shortWrite, calls.count == number, bytes.byteCount > 1 else { return try real.write(file, bytes) }
    state.withLock { $0.isFull = true }
    return try real.write(file, bytes.extracting(0..<(bytes.byteCount / 2)))
  }
  func synchronize(_ file: Int32) throws(SystemError) {
    try step("synchronize")
    try real.synchronize(file)
  }
  func close(_ file: Int32) { real.close(file) }
  func link(_ path: String, as name: String) throws(SystemError) {
    try step("link", name)
    try real.link(path, as: name)
  }
  func rename(_ path: String, to name: String) throws(SystemError) {
    try step("rename", name)
    try real.rename(path, to: name)
  }
  func remove(_ path: String) throws(SystemError) {
    try step("remove", path)
    try real.remove(path)
  }
  func lock(_ file: Int32, _ kind: LockKind) throws(SystemError) -> Bool {
    try step("lock")
    return try real.lock(file, kind)
  }
}
