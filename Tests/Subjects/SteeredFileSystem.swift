package import KeyCustody
package import KeyCustodyTesting
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The real file system, with the faults of the kit in it.
///
/// Open files have numbers of their own, so that those of a store that was dropped in a crash can be closed beneath it.
package final class SteeredFileSystem: FileSystem {
  /// Makes the faults.
  package let faults: FaultSwitch
  private let real = POSIXFileSystem()
  private let files: OpenFiles

  /// A file system without a fault so far.
  ///
  /// - Parameter whenCrashed: what else is let go in a crash.
  package init(whenCrashed: @escaping @Sendable () -> Void = {}) {
    let files = OpenFiles()
    self.files = files
    faults = FaultSwitch(
      [.refused, .answerLost, .outage, .absent, .full, .corrupted, .hung, .crash],
      whenCrashed: {
        files.closeAll()
        whenCrashed()
      })
  }

  /// Does a call as the faults have it.
  ///
  /// - Parameter empty: what it does where everything is gone; `nil` for "no such file".
  private func call<Answer>(
    _ name: String, grows: Bool = false, empty: Answer? = nil, _ work: () throws(SystemError) -> Answer
  ) throws(SystemError) -> Answer {
    switch faults.enter(grows: grows) {
    case .work, .corrupt, .cut, .logOut: return try work()
    case .fail(.full): throw SystemError(code: ENOSPC, call: name)
    case .fail: throw SystemError(code: EIO, call: name)
    case .workThenFail:
      _ = try work()
      throw SystemError(code: EIO, call: name)
    case .lookEmpty:
      if let empty { return empty }
      throw SystemError(code: ENOENT, call: name)
    }
  }

  package func status(_ path: String, followingLink: Bool) throws(SystemError) -> FileStatus? {
    try call("status", empty: .some(nil)) { () throws(SystemError) in
      try real.status(path, followingLink: followingLink)
    }
  }
  package func makeFolder(_ path: String) throws(SystemError) {
    try call("makeFolder", grows: true) { () throws(SystemError) in try real.makeFolder(path) }
  }
  package func names(in folder: String) throws(SystemError) -> [String] {
    try call("names") { () throws(SystemError) in try real.names(in: folder) }
  }
  package func open(_ path: String, _ mode: OpenMode) throws(SystemError) -> Int32 {
    try call("open", grows: mode == .creating) { () throws(SystemError) in files.add(try real.open(path, mode)) }
  }
  package func length(_ file: Int32) throws(SystemError) -> Int {
    try call("length") { () throws(SystemError) in try real.length(try files.find(file)) }
  }
  package func read(_ file: Int32, into buffer: inout MutableRawSpan, at offset: Int) throws(SystemError) -> Int {
    let action = faults.enter()
    switch action {
    case .fail, .lookEmpty: throw SystemError(code: EIO, call: "read")
    case .work, .workThenFail, .corrupt, .cut, .logOut: break
    }
    let count = try real.read(try files.find(file), into: &buffer, at: offset)
    if action == .workThenFail { throw SystemError(code: EIO, call: "read") }
    if action == .corrupt, count > 0 {
      let place = offset + count / 2
      let byte = unsafe buffer.unsafeLoad(fromByteOffset: place, as: UInt8.self)
      buffer.storeBytes(of: byte ^ 0x10, toByteOffset: place, as: UInt8.self)
    }
    return count
  }
  package func write(_ file: Int32, _ bytes: RawSpan) throws(SystemError) -> Int {
    let action = faults.enter(grows: true)
    switch action {
    case .fail(.full): throw SystemError(code: ENOSPC, call: "write")
    case .fail, .lookEmpty: throw SystemError(code: EIO, call: "write")
    case .work, .workThenFail, .corrupt, .cut, .logOut: break
    }
    let count = try real.write(try files.find(file), bytes)
    if action == .workThenFail { throw SystemError(code: EIO, call: "write") }
    return count
  }
  package func synchronize(_ file: Int32) throws(SystemError) {
    try call("synchronize") { () throws(SystemError) in try real.synchronize(try files.find(file)) }
  }
  package func close(_ file: Int32) { files.close(file) }
  package func link(_ path: String, as name: String) throws(SystemError) {
    try call("link", grows: true) { () throws(SystemError) in try real.link(path, as: name) }
  }
  package func rename(_ path: String, to name: String) throws(SystemError) {
    try call("rename") { () throws(SystemError) in try real.rename(path, to: name) }
  }
  package func remove(_ path: String) throws(SystemError) {
    try call("remove") { () throws(SystemError) in try real.remove(path) }
  }
  package func lock(_ file: Int32, _ kind: LockKind) throws(SystemError) -> Bool {
    try call("lock") { () throws(SystemError) in try real.lock(try files.find(file), kind) }
  }
}

/// The open files, by numbers that never come again.
private final class OpenFiles: Sendable {
  private struct State {
    var next: Int32 = 1000
    var files: [Int32: Int32] = [:]
  }
  private let state = Mutex(State())
  private let real = POSIXFileSystem()

  func add(_ file: Int32) -> Int32 {
    state.withLock { state in
      state.next += 1
      state.files[state.next] = file
      return state.next
    }
  }

  func find(_ number: Int32) throws(SystemError) -> Int32 {
    guard let file = state.withLock({ $0.files[number] }) else { throw SystemError(code: EBADF, call: "find") }
    return file
  }

  func close(_ number: Int32) {
    if let file = state.withLock({ $0.files.removeValue(forKey: number) }) { real.close(file) }
  }

  @Sendable func closeAll() {
    let all = state.withLock { state in
      defer { state.files = [:] }
      return Array(state.files.values)
    }
    for file in all { real.close(file) }
  }
}
