internal import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// One file on its way through two layers, done by one worker or several.
///
/// However big the file, each worker holds three buffers of about 256 KiB.
final class FileJob: Sendable {
  /// A part of a chunk that lies across two units, left by whoever came first.
  private struct Part {
    let isLeft: Bool
    let bytes: [UInt8]
  }
  private struct State {
    var next: Int64 = 0
    var parts: [Int64: Part] = [:]
    var failure: KeyCustodyError?
  }
  private struct Done {
    var bytes: Int64 = 0
    var told: Int64 = 0
  }
  private let plan: LayeredFile
  private let source: OpenFile
  private let target: OpenFile
  private let state = Mutex(State())
  private let done = Mutex(Done())
  private let progress: (@Sendable (Int64) -> Void)?

  init(_ plan: LayeredFile, from source: OpenFile, to target: OpenFile, progress: (@Sendable (Int64) -> Void)?) {
    self.plan = plan
    self.source = source
    self.target = target
    self.progress = progress
  }

  /// Does all of it, with helpers as far as there are units and processors for them; blocks.
  func run(on worker: isolated FileWorker) async throws(KeyCustodyError) {
    try target.write(plan.targetStart, at: 0)
    let helpers = HelperBudget.take(Int(min(plan.unitCount - 1, 64)))
    defer { HelperBudget.giveBack(helpers) }
    await withTaskGroup { group in
      for _ in 0..<helpers {
        // Without a thread for it the others do its part.
        guard let helper = try? FileWorker() else { break }
        group.addTask { await helper.help(self) }
      }
      await work()
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    // A size that was not known at opening, as that of a file of the kernel's.
    var more: [UInt8] = []
    try source.read(at: source.size, count: 1, into: &more)
    guard more.isEmpty else { throw source.changed() }
    tellProgress(0, isEnd: true)
  }

  /// Works on units until there are none left; an error stops everybody.
  func work() async {
    let (first, second) = (LayerWork(plan.first), LayerWork(plan.second))
    var buffers = Buffers()
    while let number = takeUnit() {
      do throws(KeyCustodyError) {
        if Task.isCancelled {
          throw KeyCustodyError(.unavailable, .cancelled, "The work was cancelled; the target is as it was.")
        }
        try await first.checkLease()
        try await second.checkLease()
        let unit = plan.unit(number)
        try await work(unit, first, second, &buffers)
        tellProgress(Int64(unit.source.count))
      } catch {
        state.withLock { if $0.failure == nil { $0.failure = error } }
      }
    }
  }

  private struct Buffers {
    var input: [UInt8] = []
    var stream: [UInt8] = []
    var output: [UInt8] = []
  }

  private func takeUnit() -> Int64? {
    state.withLock { state in
      guard state.failure == nil, state.next < plan.unitCount else { return nil }
      state.next += 1
      return state.next - 1
    }
  }

  private func work(
    _ unit: LayeredFile.Unit, _ first: LayerWork, _ second: LayerWork, _ buffers: inout Buffers
  ) async throws(KeyCustodyError) {
    buffers.input.removeAll(keepingCapacity: true)
    try source.read(at: unit.source.lowerBound, count: unit.source.count, into: &buffers.input)
    guard buffers.input.count == unit.source.count else { throw source.changed() }
    buffers.stream.removeAll(keepingCapacity: true)
    if unit.number == 0 { buffers.stream += plan.streamStart }
    try await first.process(
      buffers.input, buffers.input.indices, first: unit.firstChunk, isEnd: unit.isLast, into: &buffers.stream)
    if !unit.cells.isEmpty {
      let start = Int(plan.streamOffset(ofCell: unit.cells.lowerBound) - unit.stream.lowerBound)
      buffers.output.removeAll(keepingCapacity: true)
      try await second.process(
        buffers.stream, start..<unit.tail, first: UInt64(unit.cells.lowerBound), isEnd: unit.isLast,
        into: &buffers.output)
      try target.write(buffers.output, at: plan.targetOffset(ofCell: unit.cells.lowerBound))
    }
    if let head = unit.head {
      let part = Part(isLeft: false, bytes: Array(buffers.stream[..<head]))
      try await join(part, at: unit.number, cell: unit.cells.lowerBound - 1, isEnd: unit.headIsEnd, second)
    }
    if unit.tail < buffers.stream.count {
      let part = Part(isLeft: true, bytes: Array(buffers.stream[unit.tail...]))
      let next = plan.unit(unit.number + 1)
      try await join(part, at: next.number, cell: next.cells.lowerBound - 1, isEnd: next.headIsEnd, second)
    }
  }

  /// Leaves a part of a chunk that lies across the start of a unit, or does the chunk if the other part is there.
  private func join(
    _ part: Part, at boundary: Int64, cell: Int64, isEnd: Bool, _ second: LayerWork
  ) async throws(KeyCustodyError) {
    let other = state.withLock { state -> Part? in
      if let other = state.parts.removeValue(forKey: boundary) { return other }
      state.parts[boundary] = part
      return nil
    }
    guard let other else { return }
    let chunk = part.isLeft ? part.bytes + other.bytes : other.bytes + part.bytes
    var output: [UInt8] = []
    try await second.process(chunk, chunk.indices, first: UInt64(cell), isEnd: isEnd, into: &output)
    try target.write(output, at: plan.targetOffset(ofCell: cell))
  }

  /// Tells at every MiB, one call at a time and never less than before.
  private func tellProgress(_ count: Int64, isEnd: Bool = false) {
    guard let progress else { return }
    done.withLock { done in
      done.bytes += count
      guard done.bytes / Int64(pieceLength) > done.told / Int64(pieceLength) || (isEnd && done.bytes > done.told) else {
        return
      }
      done.told = done.bytes
      progress(done.bytes + (plan.sourceOffset > 0 ? plan.sourceOffset : 0))
    }
  }
}

/// A thread for the files' blocking calls and the ciphers.
actor FileWorker {
  private let thread: DedicatedThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

  init() throws(KeyCustodyError) { thread = try DedicatedThread() }

  /// Takes part in a job.
  func help(_ job: FileJob) async { await job.work() }
}

/// How many threads help with files in this process: with those whose files they are, as many as there are processors
/// and one more for each further file.
enum HelperBudget {
  private static let free = Mutex(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1) - 1)

  static func take(_ wanted: Int) -> Int {
    free.withLock { free in
      let taken = max(min(wanted, free), 0)
      free -= taken
      return taken
    }
  }

  static func giveBack(_ count: Int) { free.withLock { $0 += count } }
}
