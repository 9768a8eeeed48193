import KeyCustody
import Synchronization

/// What touches the token for a policy store: one change at a time, on a session of its own.
///
/// A change that does not come back is answered at its deadline; until it does, or the store is opened again, no other
/// is begun, since nobody knows what it still does.
final class StoreWriter: Sendable {
  private let lock: Mutex<LockFile?>
  private let use: PKCS11TokenUse
  let pool: PKCS11SessionPool
  private struct Objects: Sendable {
    var known = StoreObjects()
    /// The login under which the handles were found.
    var standing: PKCS11Token.Standing?
  }
  private let objects = Mutex(Objects())

  /// The token.
  var token: PKCS11Token { use.token }

  /// Locks the lock file and opens the token.
  init(_ settings: PKCS11Settings, lockFile: String) async throws(KeyCustodyError) {
    let lock = try LockFile(lockFile)
    let use = try await PKCS11TokenUse.open(settings)
    guard use.token.claimStore() else {
      await use.end()
      throw KeyCustodyError(
        .busy, .init("store-in-use"), "This process has the policy store of that token open already.",
        remedy: "Open it once and share it; configure one lock file for one token.")
    }
    self.lock = Mutex(lock)
    self.use = use
    pool = PKCS11SessionPool(
      use.token, count: 1, replacesLate: false, patience: settings.longTimeout, time: settings.environment.time)
  }

  /// Closes everything; harmless when it is closed.
  func close() async {
    let (use, lock) = (use, self)
    // A write that hangs may still act: the store stays locked until it has come back.
    await pool.close {
      await use.end {
        use.token.releaseStore()
        lock.lock.withLock { $0 = nil }
      }
    }
  }

  /// Reads all records.
  func load() async throws(KeyCustodyError) -> RecordTable {
    try await pool.run(deadline: nil) { [self] (session) throws(PKCS11Failure) in
      try objects.withLock { (objects) throws(PKCS11Failure) in try Self.load(session, &objects) }
    }
  }

  /// Reads all records again, and hands them over on the writer's thread.
  func reload(_ take: @escaping @Sendable (RecordTable) -> Void) async throws(KeyCustodyError) {
    try await pool.run(deadline: nil) { [self] (session) throws(PKCS11Failure) in
      try objects.withLock { (objects) throws(PKCS11Failure) in take(try Self.load(session, &objects)) }
    }
  }

  private static func load(
    _ session: CryptokiSession, _ objects: inout Objects
  ) throws(PKCS11Failure) -> RecordTable {
    let loaded = try session.loadRecords()
    objects = Objects(known: loaded.objects, standing: session.standing)
    return loaded.table
  }

  /// Makes a change: `decide` is handed what the token holds where that had to be read again, and says what to write.
  ///
  /// It is run again, with what the token then holds, after a call failed; `done` is called on the same thread when the
  /// change is made.
  func change(
    _ decide: @escaping @Sendable (RecordTable?) throws(KeyCustodyError) -> StoreChangePlan,
    done: @escaping @Sendable (StoreChangePlan) -> Void
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await pool.run(deadline: nil) { [self] (session) throws(PKCS11Failure) in
      try objects.withLock { (objects) throws(PKCS11Failure) in
        let isStale = objects.known.isUncertain || objects.standing != session.standing
        let fresh = isStale ? try Self.load(session, &objects) : nil
        let plan = try onHost { () throws(KeyCustodyError) in try decide(fresh) }
        switch plan {
        case .nothing(let outcome): return outcome
        case .write(let record):
          try session.write(record, &objects.known)
          done(plan)
          return .stored(record.revision)
        case .remove(let key, let revision):
          try session.remove(key, at: revision, &objects.known)
          done(plan)
          return .stored(revision)
        }
      }
    }
  }
}

/// What is to be written for a change.
enum StoreChangePlan: Sendable {
  /// Nothing: it is decided, or done already.
  case nothing(StoreOutcome)
  /// A record.
  case write(PolicyRecord)
  /// A record is to go; the revision is the removal's.
  case remove(RecordKey, StoreRevision)
}
