public import KeyCustody
import Logging
import Synchronization

/// An audit log in files of a folder that can't be altered unseen.
///
/// Each record is a line of JSON, and a leaf of a Merkle tree (RFC 6962) whose root is signed from time to time. See
/// the guide on the audit log, and the format in `AuditLog-v1`.
///
/// ``record(_:)`` returns when the record is on the disk. Those that come at the same time share one write.
public final class AuditLog: AuditHistory {
  /// How a log is kept.
  public struct Settings: Sendable, Hashable {
    /// The folder; one log's own, and on a disk of this machine.
    public var folder: String
    /// The log's name, which stands in every checkpoint: a host and a path of yours.
    public var origin: String
    /// From how many bytes on a new file is begun.
    public var fileSize = 64 << 20
    /// After how many records a checkpoint is signed.
    public var checkpointRecords = 1000
    /// After how much time a checkpoint is signed, if anything was recorded.
    public var checkpointInterval = Duration.seconds(60)
    /// How long an operation waits for its record at most.
    public var deadline = Duration.seconds(5)

    /// The usual settings.
    public init(folder: String, origin: String) {
      self.folder = folder
      self.origin = origin
    }
  }

  /// The public half of the key that signs the checkpoints: hand it to whoever is to check the log.
  public let verifierKey: AuditVerifierKey
  let folder: AuditFolder
  private let settings: Settings
  private let time: any TimeSource
  private let thread: DedicatedThread
  /// Used on the thread alone.
  private let tail: SharedTail
  private let queue: AuditQueue
  private let checkpoints: CheckpointMaker
  private let lock: Int32
  /// Up to where the files hold acknowledged records.
  private let readable: Mutex<AuditTail.Position>
  let reader: BlockingWorker

  /// Opens a log, and goes on where it ended.
  ///
  /// - Parameters:
  ///   - store: remembers the signing key and the latest checkpoint, apart from the folder.
  ///   - signer: holds the signing key; must offer `make EC P-256` and `sign ES256`.
  /// - Throws: `integrityFailure` (`truncated`, `damaged`) when records are missing or altered; `busy` when another
  ///   process has the log open; `unavailable` (`audit-unavailable`) when the folder can't be written.
  public static func open(
    _ settings: Settings, store: any PolicyStore, signer: any KeyProvider,
    environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) -> AuditLog {
    try await open(
      settings, store: store, signer: signer, environment: environment, system: POSIXAuditFileSystem())
  }

  /// Opens a log through another file system.
  package static func open(
    _ settings: Settings, store: any PolicyStore, signer: any KeyProvider, environment: RuntimeEnvironment,
    system: any AuditFileSystem
  ) async throws(KeyCustodyError) -> AuditLog {
    let folder = AuditFolder(path: settings.folder, system: system)
    let thread = try DedicatedThread()
    let (time, late) = (environment.time, AuditErrors.tooLate(settings.deadline))
    let state = try await AuditState.read(settings.origin, in: store)
    if state == nil {
      // Before a key is made for it.
      try await thread.run(by: time.running() + settings.deadline, time, late: late) { () throws(KeyCustodyError) in
        do throws(AuditFileError) { try system.makeFolder(folder.path) } catch {
          throw AuditErrors.unavailable(error, folder.path)
        }
        try folder.requireEmpty()
      }
    }
    let signer = try await AuditSigner(
      origin: settings.origin, store: store, provider: signer, environment: environment, patience: settings.deadline)
    let known = if let state { try state.read(signer.key) } else { (AuditCheckpoint, AuditTail.Position)?.none }
    // Going over the records since the latest checkpoint may take a while.
    let deadline = time.running() + settings.deadline * 12
    let key = signer.key
    let (lock, position, cut) = try await thread.run(by: deadline, time, late: late) {
      () throws(KeyCustodyError) -> (Int32, AuditTail.Position, Int) in
      let lock = try take(folder)
      do throws(KeyCustodyError) {
        var recovery = AuditRecovery(folder, key: key)
        let position = try recovery.position(after: known)
        try publish(key, in: folder)
        return (lock, position, recovery.cut)
      } catch {
        folder.system.close(lock)
        throw error
      }
    }
    if cut > 0 {
      environment.logger.warning(
        "The end of the audit log was half written, and was cut.", metadata: ["bytes": "\(cut)"])
    }
    let log = try AuditLog(
      settings, folder: folder, signer: signer, store: store, environment: environment, thread: thread, lock: lock,
      position: position, latest: known?.0)
    // From the first record on there is a checkpoint to compare with.
    do throws(KeyCustodyError) { try await log.checkpoints.make() } catch {
      await log.close()
      throw error
    }
    return log
  }

  private init(
    _ settings: Settings, folder: AuditFolder, signer: AuditSigner, store: any PolicyStore,
    environment: RuntimeEnvironment, thread: DedicatedThread, lock: Int32, position: AuditTail.Position,
    latest: AuditCheckpoint?
  ) throws(KeyCustodyError) {
    self.settings = settings
    self.folder = folder
    self.thread = thread
    self.lock = lock
    time = environment.time
    verifierKey = signer.key
    queue = AuditQueue(time: environment.time, patience: settings.deadline)
    readable = Mutex(position)
    reader = try BlockingWorker()
    let tail = SharedTail(AuditTail(folder, at: position, rotationSize: settings.fileSize))
    self.tail = tail
    checkpoints = CheckpointMaker(
      signer: signer, store: store, environment: environment, settings: settings, from: position, latest: latest
    ) { (checkpoint, number) throws(KeyCustodyError) in
      let deadline = environment.time.running() + settings.deadline
      try await thread.run(by: deadline, environment.time, late: AuditErrors.tooLate(settings.deadline)) {
        () throws(KeyCustodyError) in
        try tail.use { (tail) throws(KeyCustodyError) in try tail.append(checkpoint, file: number) }
      }
    }
  }

  /// The latest signed checkpoint.
  public var latestCheckpoint: AuditCheckpoint? { checkpoints.latest }

  /// How many records wait for the disk.
  var waiting: Int { queue.count }

  /// Up to where the files hold acknowledged records.
  var acknowledged: AuditTail.Position { readable.withLock { $0 } }

  /// Writes a record; returns when it is on the disk.
  ///
  /// - Throws: `unavailable` (`audit-unavailable`) when it can't be written, or not in time; then the operation must
  ///   not be answered.
  public func record(_ event: AuditEvent) async throws(KeyCustodyError) {
    try await record([event])
  }

  /// Records events, all by one write.
  ///
  /// - Throws: as for one.
  public func record(_ events: [AuditEvent]) async throws(KeyCustodyError) {
    guard !events.isEmpty else { return }
    try await queue.wait(for: events) { thread.perform { [self] in queue.drain(write) } }
  }

  /// Signs a checkpoint of what is recorded by now.
  @discardableResult
  public func checkpoint() async throws(KeyCustodyError) -> AuditCheckpoint? {
    try await checkpoints.make()
    return checkpoints.latest
  }

  /// Takes no more records, signs a last checkpoint, and lets go of the folder.
  public func close() async {
    queue.close()
    // What was taken is written before; a disk that hangs is not waited for any longer than an operation would.
    let late = AuditErrors.tooLate(settings.deadline)
    try? await thread.run(by: time.running() + settings.deadline, time, late: late) {}
    await checkpoints.finish()
    queue.end()
    try? await thread.run(by: time.running() + settings.deadline, time, late: late) { () throws(KeyCustodyError) in
      self.tail.close()
      self.folder.system.close(self.lock)
    }
  }

  /// Adds a batch; called on the thread.
  private func write(_ events: [AuditEvent]) throws(KeyCustodyError) {
    let (before, after, isNewFile) = try tail.use { (tail) throws(KeyCustodyError) in
      let before = tail.position
      let isNewFile = try tail.append(events)
      return (before, tail.position, isNewFile)
    }
    readable.withLock { $0 = after }
    checkpoints.reached(after, endOfFile: isNewFile ? before : nil)
  }

  /// Locks the folder, which is made if it is missing.
  private static func take(_ folder: AuditFolder) throws(KeyCustodyError) -> Int32 {
    do throws(AuditFileError) {
      try folder.system.makeFolder(folder.path)
      let file = try folder.system.open(folder.lockPath, .appending)
      if try folder.system.lock(file) { return file }
      folder.system.close(file)
    } catch { throw AuditErrors.unavailable(error, folder.path) }
    throw KeyCustodyError(
      .busy, .conflict, "Another process has the audit log '\(folder.path)' open.",
      remedy: "Stop it first, or give each service a folder of its own.", retryAfter: .seconds(1))
  }

  /// Puts the verifier key into the folder, for those who set up the checking of the log.
  private static func publish(_ key: AuditVerifierKey, in folder: AuditFolder) throws(KeyCustodyError) {
    let line = Array("\(key)\n".utf8)
    guard try folder.small(folder.keyPath) != line else { return }
    do throws(AuditFileError) {
      let file = try folder.system.open(folder.keyPath, .appending)
      defer { folder.system.close(file) }
      try folder.system.truncate(file, to: 0)
      guard try folder.system.write(file, line[...]) == line.count else { throw AuditFileError(code: 0, call: "write") }
      try folder.system.synchronize(file)
      try folder.synchronize()
    } catch { throw AuditErrors.unavailable(error, folder.keyPath) }
  }
}

/// The end of a log, for the one thread that writes it.
///
/// The lock is never waited for: nobody but that thread takes it.
private final class SharedTail: Sendable {
  private let tail: Mutex<AuditTail>
  init(_ tail: AuditTail) { self.tail = Mutex(tail) }

  func close() { tail.withLock { $0.close() } }

  func use<Result>(
    _ body: (inout AuditTail) throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result {
    try tail.withLock { (tail: inout sending AuditTail) throws(KeyCustodyError) -> Result in try body(&tail) }
  }
}
