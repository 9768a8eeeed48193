import KeyCustody
import Synchronization

/// A thread with a session of its own: PKCS#11's rule "one operation at a time for a session" as a type.
final class SessionWorker: Sendable {
  let thread: DedicatedThread
  /// Locked while a job runs; nobody else asks for it then.
  private let caller: Mutex<SessionCaller>

  init(_ token: PKCS11Token) throws(KeyCustodyError) {
    thread = try DedicatedThread()
    caller = Mutex(SessionCaller(token))
  }

  /// Runs a job; on the worker's thread.
  func run(_ job: PoolJob) throws(PKCS11Failure) -> KeyCustodyError? {
    try caller.withLock { (caller) throws(PKCS11Failure) in try job.work(&caller, job) }
  }

  /// Closes the session; on the worker's thread.
  func close() { caller.withLock { $0.close() } }
}
