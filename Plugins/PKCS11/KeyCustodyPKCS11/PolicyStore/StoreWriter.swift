import KeyCustody

/// The one thread that touches the token for a policy store.
actor StoreWriter {
  private let thread: DedicatedThread
  private var lock: LockFile?
  private var use: PKCS11TokenUse?
  private(set) var session: CryptokiSession?
  private var objects = StoreObjects()

  /// The writer's own thread.
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

  init() throws(KeyCustodyError) { thread = try DedicatedThread() }

  /// Opens everything and reads the records.
  func open(
    _ settings: PKCS11Settings, lockFile: String
  ) throws(KeyCustodyError) -> (token: PKCS11Token, table: RecordTable) {
    lock = try LockFile(lockFile)
    let use = try PKCS11TokenUse(settings)
    self.use = use
    guard use.token.claimStore() else {
      use.end()
      self.use = nil
      throw KeyCustodyError(
        .busy, .init("store-in-use"), "This process has the policy store of that token open already.",
        remedy: "Open it once and share it; configure one lock file for one token.")
    }
    return (use.token, try load())
  }

  /// Closes everything; harmless when it is closed.
  func close() {
    session?.close()
    session = nil
    if let use {
      use.token.releaseStore()
      use.end()
    }
    use = nil
    lock = nil
  }

  /// Runs work that uses the other methods, one piece at a time.
  func run<Result: Sendable>(
    _ work: @Sendable (isolated StoreWriter) throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result { try work(self) }

  /// Reads the records again after a write whose outcome is unknown; `nil` when there was none.
  func reloadIfUncertain() throws(KeyCustodyError) -> RecordTable? {
    guard objects.isUncertain || session == nil else { return nil }
    return try load()
  }

  /// Writes a record.
  func write(_ record: PolicyRecord) throws(KeyCustodyError) {
    var changed = objects
    defer { objects = changed }
    try onSession { (session) throws(PKCS11Failure) in try session.write(record, &changed) }
  }

  /// Removes a record.
  func remove(_ key: RecordKey, at revision: StoreRevision) throws(KeyCustodyError) {
    var changed = objects
    defer { objects = changed }
    try onSession { (session) throws(PKCS11Failure) in try session.remove(key, at: revision, &changed) }
  }

  private func load() throws(KeyCustodyError) -> RecordTable {
    let loaded = try onSession { (session) throws(PKCS11Failure) in try session.loadRecords() }
    objects = loaded.objects
    return loaded.table
  }

  /// A session that is lost is opened anew the next time, and the records are read again then.
  private func onSession<Result>(
    _ work: (CryptokiSession) throws(PKCS11Failure) -> Result
  ) throws(KeyCustodyError) -> Result {
    guard let use else { throw LendingClosed.error }
    do throws(PKCS11Failure) {
      if let session { return try work(session) }
      let fresh = try CryptokiSession(use.token)
      session = fresh
      return try work(fresh)
    } catch {
      if error.meansSessionIsGone {
        session?.close()
        session = nil
      }
      throw error.translated
    }
  }
}
