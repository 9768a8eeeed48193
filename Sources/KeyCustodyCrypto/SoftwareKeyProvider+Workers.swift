import CKeyCustodyOpenSSL
import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The threads of a provider: some for making keys, which takes a second and more, and some for all the rest, so that
/// a key in the making holds nobody up.
final class SoftwareKeyWorkers: Sendable {
  /// What a thread is wanted for.
  enum Lane: Int {
    /// Everything that takes milliseconds.
    case quick
    /// Making and checking keys.
    case slow
  }

  private let workers: [[BlockingWorker]]
  private let loads: Mutex<[[Int]]>

  init() throws(KeyCustodyError) {
    let cores = min(max(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 2), 8)
    var lanes: [[BlockingWorker]] = []
    for count in [cores, 2] {
      var lane: [BlockingWorker] = []
      for _ in 0..<count { lane.append(try BlockingWorker()) }
      lanes.append(lane)
    }
    workers = lanes
    loads = Mutex(lanes.map { [Int](repeating: 0, count: $0.count) })
  }

  /// Runs blocking work on the thread of the lane with the shortest queue.
  func run<Result: ~Copyable>(
    _ lane: Lane, _ work: @Sendable () throws(KeyCustodyError) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    let (row, index) = take(lane)
    defer { release(row, index) }
    return try await workers[row][index].run { () throws(KeyCustodyError) in
      defer { kc_clear_stack() }
      return try work()
    }
  }

  /// Has blocking work run, and waits for nothing.
  func perform(_ lane: Lane, _ work: @escaping @Sendable () -> Void) {
    let (row, index) = take(lane)
    workers[row][index].perform {
      work()
      kc_clear_stack()
      self.release(row, index)
    }
  }

  private func take(_ lane: Lane) -> (row: Int, index: Int) {
    let row = lane.rawValue
    let index = loads.withLock { loads in
      let index = loads[row].indices.min { loads[row][$0] < loads[row][$1] } ?? 0
      loads[row][index] += 1
      return index
    }
    return (row, index)
  }

  private func release(_ row: Int, _ index: Int) { loads.withLock { $0[row][index] -= 1 } }
}
