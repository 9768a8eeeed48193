import KeyCustody
import KeyCustodyTestSupport

/// Revocations of one customer after another by one process, while that and another one use all customers' keys.
struct Timeline {
  let hearing: Deployment.Hearing
  let rounds: Int

  /// Of each round, in seconds after the answer: when the last use began that succeeded.
  private struct Figures {
    var own: [Double] = []
    var other: [Double] = []
    /// When the first use succeeded after the grant was answered.
    var regained: [Double] = []
    /// Of the other customers, in both processes: uses in a second, before and during.
    var before: [Double] = []
    var during: [Double] = []
    /// Uses of other customers' that were refused.
    var refused = 0
    /// Rounds in which a use began after its time.
    var late = 0
  }

  /// Runs it and prints a line.
  ///
  /// - Returns: whether every revocation held when it was to.
  func run() async throws -> Bool {
    let server = try PostgreSQLServer()
    let folder = try TemporaryFolder()
    _ = try await Deployment(in: folder, on: server, heard: hearing)
    let workers = [try await WorkerProcess(folder.path), try await WorkerProcess(folder.path)]
    try await wait("both processes use every key") {
      try await uses(workers).joined().allSatisfy { $0.successes > 100 }
    }
    var figures = Figures()
    for round in 0..<rounds {
      try await revoke(round % Deployment.customers, workers, server, &figures)
    }
    for worker in workers { try worker.end() }
    // Until here: both go away with their last reference.
    withExtendedLifetime((server, folder)) {}
    print(
      Self.cells([
        hearing.rawValue, Self.text(figures.own), Self.text(figures.other), "\(Deployment.leaseSeconds)",
        Self.text(figures.regained), hearing == .nothing ? "-" : "\(figures.refused)",
        hearing == .nothing ? "-" : Self.rates(figures.before, figures.during),
      ]))
    return figures.late == 0 && figures.refused == 0
  }

  private func revoke(
    _ customer: Int, _ workers: [WorkerProcess], _ server: PostgreSQLServer, _ figures: inout Figures
  ) async throws {
    let start = try await count(workers, but: customer)
    // The rate of a second of load is measured: no event ends it.
    try await Task.sleep(for: .seconds(1))
    let before = try await count(workers, but: customer)
    let answer = try await workers[0].ask(.revoke(customer), Answer.self)
    if hearing == .nothing { server.suspend(true) }
    try await wait("both processes are refused") {
      guard hearing != .nothing || monotonicTime() > answer.promised else { return false }
      return try await uses(workers).allSatisfy { $0[customer].refusals > 0 }
    }
    // As above; and whoever uses the key once more in this second is late.
    if hearing != .nothing { try await Task.sleep(for: .seconds(1)) }
    let after = try await count(workers, but: customer)
    let seen = try await uses(workers).map { $0[customer] }
    server.suspend(false)
    figures.own.append(seconds(answer.time, seen[0].last))
    figures.other.append(seconds(answer.time, seen[1].last))
    if seen[0].last > answer.time || seen[1].last > answer.promised { figures.late += 1 }
    if hearing != .nothing {
      figures.refused += after.refused - start.refused
      figures.before.append(Double(before.successes - start.successes) / seconds(start.time, before.time))
      figures.during.append(Double(after.successes - before.successes) / seconds(before.time, after.time))
    }
    let granted = try await workers[0].ask(.restore(customer), Answer.self)
    try await wait("both processes go on") {
      try await uses(workers).joined().allSatisfy { $0.refusals == 0 }
    }
    let regained = try await uses(workers).map(\.[customer].regained).max() ?? 0
    figures.regained.append(seconds(granted.time, regained))
  }

  private func uses(_ workers: [WorkerProcess]) async throws -> [[Use]] {
    var all: [[Use]] = []
    for worker in workers { all.append(try await worker.uses()) }
    return all
  }

  /// What was done for all customers but one.
  private func count(
    _ workers: [WorkerProcess], but customer: Int
  ) async throws -> (time: UInt64, successes: Int, refused: Int) {
    let others = try await uses(workers).flatMap { uses in
      uses.indices.filter { $0 != customer }.map { uses[$0] }
    }
    return (monotonicTime(), others.map(\.successes).reduce(0, +), others.map(\.allRefusals).reduce(0, +))
  }

  private func wait(_ what: String, until isSo: () async throws -> Bool) async throws {
    let end = monotonicTime() + 120_000_000_000
    while try await !isSo() {
      guard monotonicTime() < end else { throw Stop("It took over two minutes until \(what).") }
      // The processes are to work, and not to answer questions alone.
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  private func seconds(_ start: UInt64, _ end: UInt64) -> Double { max(0, Double(end) - Double(start)) / 1e9 }

  // MARK: Printing

  /// Prints what the columns are.
  static func printHeader(rounds: Int) {
    print(
      "\(Deployment.customers) customers, two processes under load, \(rounds) revocations each;",
      "seconds after the answer, median and most")
    print(
      cells([
        "the other process hears of it", "last use here", "last use there", "promised", "first use again", "others cut",
        "others' uses/s",
      ]))
  }

  private static func cells(_ texts: [String]) -> String {
    zip(texts, [31, 15, 16, 9, 16, 11, 0]).map { text, width in
      text + String(repeating: " ", count: max(1, width - text.count))
    }.joined()
  }

  private static func text(_ values: [Double]) -> String {
    let sorted = values.sorted()
    return "\(text(sorted[sorted.count / 2])) \(text(sorted[sorted.count - 1]))"
  }

  /// With three digits.
  private static func text(_ value: Double) -> String {
    let thousandths = Int((value * 1000).rounded())
    let digits = String(thousandths % 1000)
    return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits
  }

  private static func rates(_ before: [Double], _ during: [Double]) -> String {
    func middle(_ values: [Double]) -> Int { Int(values.sorted()[values.count / 2]) }
    return "\(middle(before)), \(middle(during)) during"
  }
}
