import CBaseline
import Foundation
import KeyCustody
import KeyCustodyServices

/// Wrapping keysets anew, and what many resources take in memory.
func rewrapRows() async throws {
  let count = Options.current.isQuick ? 500 : 10_000
  let resources = try await ManyResources(count)
  defer { resources.folder.remove() }
  let custody = try await resources.open()
  try await row(
    "R12", "rewrap-\(count)-sqlite", "c", goal: .speed(atLeast: 0.5), rounds: 3,
    ours: {
      try await custody.rotateServiceKeys()
      return try await time(count) {
        let report = try await custody.upkeep()
        guard report.rewrapped == resources.keys * count else { throw Unexpected(description: "Rewrapped: \(report)") }
      }
    },
    baseline: {
      let path = "\(resources.folder.path)/baseline-\(UInt32.random(in: 0...UInt32.max)).sqlite"
      defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
      return Double(baseline_rewrap(path, Int32(count), Int32(resources.keys), Int32(resources.recordLength)))
        / Double(count)
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
