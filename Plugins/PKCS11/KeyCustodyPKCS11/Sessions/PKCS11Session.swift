import CKeyCustodyPKCS11
import KeyCustody

/// A session of a token on a thread of its own: PKCS#11's rule "one operation at a time for a session" as a type.
actor PKCS11Session {
  private let thread: DedicatedThread
  private let token: PKCS11Token
  private var session: CryptokiSession?

  /// The session's own thread.
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

  /// Starts the thread; the session itself is opened by ``open()``.
  init(_ token: PKCS11Token) throws(KeyCustodyError) {
    thread = try DedicatedThread()
    self.token = token
  }

  /// Opens the session.
  func open() throws(KeyCustodyError) {
    do { _ = try current() } catch { throw error.translated }
  }

  /// Runs work on the session.
  ///
  /// A session that is lost is opened anew; the work is repeated only where that is safe.
  func run<Result: ~Copyable>(
    isRepeatable: Bool, _ work: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) throws(PKCS11Failure) -> sending Result {
    do { return try work(try current()) } catch {
      guard error.meansSessionIsGone else { throw error }
      close()
      guard isRepeatable else { throw error }
      return try work(try current())
    }
  }

  /// Closes the session.
  func close() {
    session?.close()
    session = nil
  }

  private func current() throws(PKCS11Failure) -> CryptokiSession {
    if let session { return session }
    let new = try CryptokiSession(token)
    session = new
    return new
  }
}
