import KeyCustody
import Synchronization

/// A connection that comes back after it was lost, used by one thread.
final class ServerSession: Sendable {
  private let server: Server
  private let connection = Mutex<ServerConnection?>(nil)

  init(_ server: Server) { self.server = server }

  /// Works with the connection; makes it where there is none.
  ///
  /// - Throws: `KeyCustodyError` where there is no connection, before anything was done; else what `work` throws.
  func use<Result: Sendable>(
    by deadline: ContinuousClock.Instant,
    _ work: (ServerConnection) throws(ServerFailure) -> Result
  ) throws(KeyCustodyError) -> Swift.Result<Result, ServerFailure> {
    try connection.withLock { (slot) throws(KeyCustodyError) in
      let connection: ServerConnection
      if let open = slot, open.isIdle {
        connection = open
      } else {
        slot = nil
        connection = try server.connect(by: deadline)
        slot = connection
      }
      do throws(ServerFailure) {
        let result = try work(connection)
        return .success(result)
      } catch {
        // A new one may find the server that takes changes.
        if case .refused("25006", _) = error { slot = nil }
        if case .refused = error, connection.isIdle {} else { slot = nil }
        return .failure(error)
      }
    }
  }

  /// Does what may be done twice: once more where the connection turns out to be lost, or others were in the way.
  func read(
    by deadline: ContinuousClock.Instant, _ work: (ServerConnection) throws(ServerFailure) -> [Answer]
  ) throws(KeyCustodyError) -> [Answer] {
    var attempts = 0
    while true {
      attempts += 1
      switch try use(by: deadline, work) {
      case .success(let answers): return answers
      case .failure(let failure):
        if case .lost = failure, attempts < 2 { continue }
        if failure.isCollision, attempts < 4 { continue }
        throw KeyCustodyError(failure, server.place)
      }
    }
  }

  /// Lets go of the connection.
  func close() { connection.withLock { $0 = nil } }
}
