import CBaseline
import Foundation
import KeyCustody
import KeyCustodyServices

/// Wrapping keysets anew, and what many resources take in memory.
func rewrapRows() async throws {
  let count = Options.current.isQuick ? 500 : 10_000
  try await rewrapRow("sqlite", try await ManyResources(count)) { resources in
    let path = "\(resources.folder.path)/baseline-\(UInt32.random(in: 0...UInt32.max)).sqlite"
    defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
    return baseline_rewrap(path, Int32(count), Int32(resources.keys), Int32(resources.recordLength))
  }
  let server = try PostgreSQLServer()
  try await rewrapRow(
    "postgresql", try await ManyResources(count, state: server.settings(schema: PostgreSQLServer.schemaName()))
  ) { resources in
    baseline_rewrap_postgresql(
      server.url(), PostgreSQLServer.schemaName(), Int32(count), Int32(resources.keys), Int32(resources.recordLength))
  }
}

/// Our time for each keyset, and that of `baseline`, which tells the nanoseconds for all.
private func rewrapRow(
  _ store: String, _ resources: ManyResources, baseline: (ManyResources) -> Int64
) async throws {
  defer { resources.folder.remove() }
  let (count, custody) = (resources.count, try await resources.open())
  try await row(
    "R12", "rewrap-\(count)-\(store)", "c", goal: .speed(atLeast: 0.5), rounds: 3,
    ours: {
      try await custody.rotateServiceKeys()
      return try await time(count) {
        let report = try await custody.upkeep()
        guard report.rewrapped == resources.keys * count else { throw Unexpected(description: "Rewrapped: \(report)") }
      }
    },
    baseline: {
      let took = baseline(resources)
      guard took > 0 else { throw Unexpected(description: "The baseline failed on \(store).") }
      return Double(took) / Double(count)
    })
  await custody.close()
}

func memoryRows() async throws {
  let count = Options.current.isQuick ? 1000 : 100_000
  let resources = try await ManyResources(count)
  defer { resources.folder.remove() }
  limit("R13", "resident-\(count)-idle", [try resources.resident(.opened)], atMost: 60, unit: "MiB")
  limit("R13", "resident-\(count)-leased", [try resources.resident(.leased)], atMost: 160, unit: "MiB")
}
