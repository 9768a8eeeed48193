import Dispatch
import KeyCustodyVault
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The real file system for an audit log, with the faults that a test asks for.
final class SteeredAuditFiles: AuditFileSystem {
  enum Fault { case full, readOnly, torn, unsynchronized, hung }
  private struct State {
    var fault: Fault?
    var keepsTail = false
    var writes = 0
    var synchronizations = 0
    var folders = 0
    var hanging = 0
    var watchers: [CheckedContinuation<Void, Never>] = []
  }
  private let real = POSIXAuditFileSystem()
  private let state = Mutex(State())
  private let gate = DispatchSemaphore(value: 0)

  /// What goes wrong from now on; what hung goes on.
  func fail(_ fault: Fault?, keepingTail: Bool = false) {
    let hanging = state.withLock { state in
      state.fault = fault
      state.keepsTail = keepingTail
      defer { state.hanging = 0 }
      return state.hanging
    }
    for _ in 0..<hanging { gate.signal() }
  }

  var synchronizations: Int { state.withLock { $0.synchronizations } }
  /// How often a folder was opened, which is for bringing its names to the disk.
  var folders: Int { state.withLock { $0.folders } }

  /// Waits until a call hangs.
  func untilHung() async {
    await withCheckedContinuation { continuation in
      let isHung = state.withLock { state in
        if state.hanging == 0 { state.watchers.append(continuation) }
        return state.hanging > 0
      }
      if isHung { continuation.resume() }
    }
  }

  private func hang() {
    let watchers = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
      guard state.fault == .hung else { return nil }
      state.hanging += 1
      defer { state.watchers = [] }
      return state.watchers
    }
    guard let watchers else { return }
    for watcher in watchers { watcher.resume() }
    gate.wait()
  }

  func write(_ file: Int32, _ bytes: ArraySlice<UInt8>) throws(AuditFileError) -> Int {
    hang()
    let (fault, count) = state.withLock { state in
      state.writes += 1
      return (state.fault, state.writes)
    }
    switch fault {
    case .full: throw AuditFileError(code: ENOSPC, call: "write")
    case .readOnly: throw AuditFileError(code: EROFS, call: "write")
    case .torn:
      // Half of it arrives, then the disk is full.
      guard !count.isMultiple(of: 2) else { throw AuditFileError(code: ENOSPC, call: "write") }
      return try real.write(file, bytes.prefix(max(1, bytes.count / 2)))
    case .unsynchronized, .hung, nil: return try real.write(file, bytes)
    }
  }

  func synchronize(_ file: Int32) throws(AuditFileError) {
    let fault = state.withLock { state in
      state.synchronizations += 1
      return state.fault
    }
    if fault == .unsynchronized { throw AuditFileError(code: EIO, call: "fsync") }
    try real.synchronize(file)
  }

  func truncate(_ file: Int32, to length: Int) throws(AuditFileError) {
    if state.withLock({ $0.keepsTail }) { throw AuditFileError(code: EIO, call: "ftruncate") }
    try real.truncate(file, to: length)
  }

  func open(_ path: String, _ mode: AuditFileMode) throws(AuditFileError) -> Int32 {
    if mode == .folder { state.withLock { $0.folders += 1 } }
    if mode == .appending, state.withLock({ $0.fault }) == .readOnly { throw AuditFileError(code: EROFS, call: "open") }
    return try real.open(path, mode)
  }

  func makeFolder(_ path: String) throws(AuditFileError) { try real.makeFolder(path) }
  func names(in folder: String) throws(AuditFileError) -> [String] { try real.names(in: folder) }
  func status(_ file: Int32) throws(AuditFileError) -> AuditFileStatus { try real.status(file) }
  func status(at path: String) throws(AuditFileError) -> AuditFileStatus? { try real.status(at: path) }
  func read(_ file: Int32, at offset: Int, count: Int) throws(AuditFileError) -> [UInt8] {
    try real.read(file, at: offset, count: count)
  }
  func lock(_ file: Int32) throws(AuditFileError) -> Bool { try real.lock(file) }
  func close(_ file: Int32) { real.close(file) }
}
