import Foundation
import KeyCustody
import KeyCustodySQLite
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// What was acknowledged survives kill -9.
struct SQLiteKillTests {
  @Test("RELIABILITY 36: killed two hundred times while it writes, the store has lost nothing that it acknowledged")
  func killed() async throws {
    let store = try DatabaseStore()
    var random = Dice(seed: 36)
    var living: [String: UInt64] = [:]
    var (acknowledged, newest) = (0, UInt64(0))
    for run in 0..<200 {
      for line in try Self.run(store.path, run, killAfter: Int.random(in: 1...60, using: &random)) {
        let words = line.split(separator: " ")
        let revision = try #require(UInt64(words[2]))
        acknowledged += 1
        newest = max(newest, revision)
        living[String(words[1])] = words[0] == "put" ? revision : nil
      }
    }
    let records = try await store.open()
    let found = Dictionary(
      uniqueKeysWithValues: try await records.all().map { ($0.key.description, $0.revision.number) })
    var (lost, unacknowledged) = (0, 0)
    for (key, revision) in living where (found[key] ?? 0) < revision {
      // What was under way when it was killed may have happened: then it was deleted at a later revision.
      let isLast = try await Self.wasDeleted(key, after: revision, in: records)
      if !isLast { lost += 1 }
    }
    for (key, revision) in found where living[key] != revision { unacknowledged += 1 }
    #expect(lost == 0)
    #expect(unacknowledged <= 200 * 8, "at most one change of each task was under way")
    #expect(try await records.currentRevision().number >= newest)
    #expect(acknowledged > 1000)
    await records.close()
    #expect(try store.ask("PRAGMA integrity_check") == "ok")
    print("killed 200 times: \(acknowledged) changes acknowledged, \(lost) lost, \(unacknowledged) done and not told")
  }

  @Test(
    "RELIABILITY 36: killed sixty times while it keeps sealed records, the table has every row that it acknowledged")
  func killedTable() async throws {
    let database = try SealedDatabase()
    var random = Dice(seed: 37)
    var told: [String: UInt8] = [:]
    for run in 0..<60 {
      for line in try Self.run(database.path, run, ["sealed"], killAfter: Int.random(in: 1...60, using: &random)) {
        told[String(line.dropFirst(2))] = UInt8(String(line.prefix(1)))
      }
    }
    let table = try await database.open()
    var found: [String: SealedRow] = [:]
    while case let page = try await table.page(
      of: database.notes, after: found.keys.max(), excluding: nil, limit: 1000), !page.isEmpty
    {
      for row in page { found[row.name] = row }
    }
    var lost = 0
    for (name, step) in told {
      // What was under way when it was killed may have happened: then the row is one step further.
      let last: UInt8 = (Int(name.split(separator: "/")[2]) ?? 0) % 3 == 2 ? 3 : 2
      let isThere = found[name]?.label.first.map { $0 == step || $0 == step + 1 } ?? (step >= last - 1 && last == 3)
      if !isThere { lost += 1 }
      guard let row = found[name] else { continue }
      let value = try #require(try await table.read(name, of: database.notes))
      #expect(value.revision == row.revision && value.label == row.label)
      #expect(value.sealed.allSatisfy { $0 == row.label.first } && value.sealed.count == row.size)
    }
    #expect(lost == 0 && told.count > 300)
    await table.close()
    #expect(try database.ask("PRAGMA integrity_check") == "ok")
    print("killed 60 times: \(told.count) rows acknowledged, \(lost) lost")
  }

  private static func wasDeleted(
    _ key: String, after revision: UInt64, in records: any PolicyStore
  ) async throws -> Bool {
    let marker = try await records.put("marker/\(key)")
    for await change in try await records.watch(since: StoreRevision(revision)) {
      if case .deleted(let gone, _) = change, gone.description == key { return true }
      if case .put(let record) = change, record.revision == marker { return false }
    }
    return false
  }

  /// Starts the process and kills it after so many acknowledgements.
  ///
  /// - Returns: what it acknowledged.
  private static func run(
    _ path: String, _ run: Int, _ more: [String] = [], killAfter limit: Int
  ) throws -> [Substring] {
    let process = Process()
    process.executableURL = URL(filePath: try Executable("KeyCustodySQLiteProbe").path)
    process.arguments = [path, "\(run)"] + more
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    var text: [UInt8] = []
    var isKilled = false
    while case let more = output.fileHandleForReading.availableData, !more.isEmpty {
      text += more
      if !isKilled, text.count(where: { $0 == 0x0a }) >= limit {
        isKilled = true
        kill(process.processIdentifier, SIGKILL)
      }
    }
    process.waitUntilExit()
    #expect(process.terminationReason == .uncaughtSignal, "run \(run)")
    // A line that was cut is no acknowledgement.
    return String(decoding: text.prefix(through: text.lastIndex(of: 0x0a) ?? 0), as: UTF8.self).split(separator: "\n")
  }
}
