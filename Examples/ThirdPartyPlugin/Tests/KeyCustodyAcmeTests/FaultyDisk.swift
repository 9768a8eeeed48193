import FoundationEssentials
import KeyCustodyAcme
import KeyCustodyTesting
import Synchronization

/// The machine's disk with the kit's faults in it: all that a third party writes to run the behaviours under faults.
final class FaultyDisk: Disk {
  let faults: FaultSwitch
  private let real = SystemDisk()
  private let locks: Locks

  /// What a killed process held is let go; so the locks have numbers of their own, which never come again.
  private final class Locks: Sendable {
    let held = Mutex<[Int32: Int32]>([:])
    func release() {
      let all = held.withLock { held in
        defer { held = [:] }
        return Array(held.values)
      }
      for lock in all { SystemDisk().unlock(lock) }
    }
  }
  private let next = Mutex<Int32>(1000)

  init() {
    let locks = Locks()
    self.locks = locks
    faults = FaultSwitch(
      [.refused, .answerLost, .outage, .full, .corrupted, .crash], whenCrashed: { locks.release() })
  }

  private func call<Answer>(
    grows: Bool = false, _ work: () throws(DiskFailure) -> Answer
  ) throws(DiskFailure) -> Answer {
    switch faults.enter(grows: grows) {
    case .fail: throw DiskFailure("fault", 5)
    case .workThenFail:
      _ = try work()
      throw DiskFailure("fault", 5)
    case .corrupt:
      let answer = try work()
      guard let bytes = answer as? Data, let flipped = Data(FaultSwitch.flipped(Array(bytes))) as? Answer else {
        return answer
      }
      return flipped
    case .work, .lookEmpty, .cut, .logOut: return try work()
    }
  }

  func lock(_ path: String) throws(DiskFailure) -> Int32? {
    // Before, not around it: a lock whose answer was lost would be held for ever.
    try call { () throws(DiskFailure) in }
    guard let lock = try real.lock(path) else { return nil }
    let number = next.withLock { next in
      next += 1
      return next
    }
    locks.held.withLock { $0[number] = lock }
    return number
  }
  func unlock(_ lock: Int32) {
    if let lock = locks.held.withLock({ $0.removeValue(forKey: lock) }) { real.unlock(lock) }
  }
  func read(_ path: String) throws(DiskFailure) -> Data? {
    try call { () throws(DiskFailure) in try real.read(path) }
  }
  func write(_ bytes: Data, to path: String) throws(DiskFailure) {
    try call(grows: true) { () throws(DiskFailure) in try real.write(bytes, to: path) }
  }
  func rename(_ path: String, to name: String) throws(DiskFailure) {
    try call { () throws(DiskFailure) in try real.rename(path, to: name) }
  }
  func synchronizeFolder(of path: String) throws(DiskFailure) {
    try call { () throws(DiskFailure) in try real.synchronizeFolder(of: path) }
  }
}
