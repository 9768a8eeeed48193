import KeyCustody
import KeyCustodyTestSupport
import Testing

/// What was acknowledged survives the server, and nothing is made twice.
struct PostgreSQLCrashTests {
  @Test("RELIABILITY 37: killed six times under load, the server has lost no acknowledged change and doubled none")
  func killed() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let left = try await persistently { try await store.open(["timeout": 10]) }
    let right = try await persistently {
      try await store.open(["timeout": 10, "notifications": false, "pollMilliseconds": 50])
    }
    let told = try await persistently { try await right.watch(since: .zero) }
    let counts = try await CrashLoad.run(store.server, [left, right], rounds: 6, changes: 150)
    #expect(counts.lost == 0 && counts.doubled == 0 && counts.unexpected.isEmpty, "\(counts)")
    #expect(counts.acknowledged >= 900)
    // Who watched all the time was told of everything, in order.
    let end = try await persistently { try await left.put("marker") }
    var living: [RecordKey: PolicyRecord] = [:]
    var revision = StoreRevision.zero
    loop: for await change in told {
      switch change {
      case .put(let record):
        #expect(record.revision > revision)
        revision = record.revision
        living[record.key] = record
      case .deleted(let key, let number):
        #expect(number > revision)
        revision = number
        living[key] = nil
      case .resynchronize: Issue.record("nothing was forgotten")
      }
      if revision == end { break loop }
    }
    let all = try await persistently { try await left.all() }
    #expect(all == living.values.sorted { $0.key < $1.key })
    await left.close()
    await right.close()
    print(
      "killed 6 times: \(counts.acknowledged) acknowledged, \(counts.lost) lost, \(counts.doubled) doubled, "
        + "\(counts.refused) refused, \(counts.unknown) unknown, \(counts.unknownAndMade) of these made")
  }
}
