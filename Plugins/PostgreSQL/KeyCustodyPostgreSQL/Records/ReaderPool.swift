import KeyCustody
import Synchronization

/// Those that read: a few connections, each on a thread of its own, and a queue of bounded length before them.
final class ReaderPool: Sendable {
  private typealias Job = @Sendable (ServerSession) -> Void
  private struct State {
    var waiting: [Job] = []
    var idle: [Int]
    var isClosed = false
  }
  private let server: Server
  private let sessions: [ServerSession]
  private let threads: [DedicatedThread]
  private let state: Mutex<State>

  init(_ server: Server) throws(KeyCustodyError) {
    self.server = server
    let count = server.settings.connections
    sessions = (0..<count).map { _ in ServerSession(server) }
    var threads: [DedicatedThread] = []
    for _ in 0..<count { threads.append(try DedicatedThread()) }
    self.threads = threads
    state = Mutex(State(idle: Array((0..<count).reversed())))
  }

  /// Does something with a connection.
  ///
  /// - Throws: `busy` where too many wait; `timeout`; what `work` throws.
  func run<Value: Sendable>(
    _ work: @escaping @Sendable (ServerSession, ContinuousClock.Instant) throws(KeyCustodyError) -> Value
  ) async throws(KeyCustodyError) -> Value {
    let request = Request<Value>(server.settings)
    try submit { session in
      guard request.take() else { return }
      request.give(Result { () throws(KeyCustodyError) in try work(session, request.deadline) })
    }
    return try await request.value(server.settings.environment.time)
  }

  private func submit(_ job: @escaping Job) throws(KeyCustodyError) {
    let place = server.place
    let limit = server.settings.queue
    let index = try state.withLock { (state) throws(KeyCustodyError) -> Int? in
      guard !state.isClosed else { throw .closedStore(place) }
      guard state.waiting.count < limit || !state.idle.isEmpty else { throw .queueFull(place, limit) }
      state.waiting.append(job)
      return state.idle.popLast()
    }
    if let index { threads[index].perform { self.work(index) } }
  }

  private func work(_ index: Int) {
    while true {
      let job = state.withLock { state -> Job? in
        guard !state.waiting.isEmpty else {
          state.idle.append(index)
          return nil
        }
        return state.waiting.removeFirst()
      }
      guard let job else { return }
      job(sessions[index])
    }
  }

  /// Takes no more; what waits is done yet.
  func refuseUse() { state.withLock { $0.isClosed = true } }

  /// Lets go of the connections, after what waits was done.
  func close() async {
    refuseUse()
    for (session, thread) in zip(sessions, threads) {
      await withCheckedContinuation { continuation in
        thread.perform {
          session.close()
          continuation.resume()
        }
      }
    }
  }
}
