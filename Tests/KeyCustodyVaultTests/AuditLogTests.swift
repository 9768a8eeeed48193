import KeyCustody
import KeyCustodyMemory
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The audit log in use: writing, going on, finding what is gone (SEMANTICS V11).
struct AuditLogTests {
  @Test("V11: 64 at once share their writes; every record is there, each task's in order")
  func groupCommit() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    let before = bench.system.synchronizations
    for number in 0..<50 {
      // A disk that is busy until all of them wait for it.
      bench.system.fail(.hung)
      await withTaskGroup(of: KeyCustodyError?.self) { group in
        for task in 0..<64 {
          group.addTask { await failure { try await log.record(AuditBench.event("\(task)-\(number)")) } }
        }
        while log.waiting < 64 { await Task.yield() }
        bench.system.fail(nil)
        for await refusal in group { #expect(refusal == nil) }
      }
    }
    let synchronizations = bench.system.synchronizations - before
    await log.close()
    let records = try bench.records()
    #expect(records.count == 3200 && Set(records.map(\.event.requestID)).count == 3200)
    #expect(synchronizations < 200, "\(synchronizations) synchronizations for 3,200 records")
    for task in 0..<64 {
      let own = records.map(\.event.requestID).filter { $0.hasPrefix("\(task)-") }
      #expect(own == (0..<50).map { "\(task)-\($0)" })
    }
    let found = try bench.verify()
    #expect(found.finding == nil && found.signed == 3200 && found.checkpoints > 2)
    print("3,200 records of 64 tasks: \(synchronizations) synchronizations")
  }

  @Test("V11: records of one step are one write, in their order, and none of them is there when it fails")
  func several() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    // The first opens a file.
    try await log.record(AuditBench.event("first"))
    let before = bench.system.synchronizations
    try await log.record((0..<18).map { AuditBench.event("request-\($0)") })
    #expect(bench.system.synchronizations == before + 1)
    try await log.record([])
    bench.system.fail(.hung)
    async let late: Void = log.record((18..<36).map { AuditBench.event("request-\($0)") })
    while log.waiting < 18 { await Task.yield() }
    bench.system.fail(nil)
    try await late
    #expect(log.waiting == 0)
    await log.close()
    #expect(try bench.requests == ["first"] + (0..<36).map { "request-\($0)" })
    #expect(await failure { try await log.record([AuditBench.event("late")]) } != nil)
    #expect(try bench.verify().finding == nil)
  }

  @Test("V11: a record is on the disk, whole, when it is acknowledged")
  func acknowledged() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    for number in 0..<20 {
      try await bench.fill(log, 1, from: number)
      #expect(try bench.requests == (0...number).map { "request-\($0)" })
    }
    await log.close()
  }

  @Test("A log goes on where it ended, over files, under one key")
  func reopening() async throws {
    var bench = try await AuditBench()
    bench.settings.fileSize = 4 << 10
    var keys: Set<AuditVerifierKey> = []
    for round in 0..<10 {
      let log = try await bench.open()
      keys.insert(log.verifierKey)
      try await bench.fill(log, 7, from: round * 7)
      await log.close()
      #expect(log.latestCheckpoint?.size == UInt64(round * 7 + 7))
    }
    #expect(try bench.requests == (0..<70).map { "request-\($0)" })
    let found = try bench.verify()
    #expect(found.finding == nil && found.records == 70 && found.files > 3 && found.signed == 70)
    #expect(keys.count == 1)
    #expect(try await bench.keys.inventory?.versions(after: nil, limit: 10).count == 1)
  }

  @Test("Finished files may be moved away: the log goes on, and is checked over both folders")
  func archiving() async throws {
    var bench = try await AuditBench()
    bench.settings.fileSize = 4 << 10
    var log = try await bench.open()
    try await bench.fill(log, 50)
    await log.close()
    let archive = bench.folder.appending("archive")
    try FileManager.default.createDirectory(atPath: archive, withIntermediateDirectories: false)
    for name in try bench.files().keys where name.hasPrefix("audit-00000001") || name.hasPrefix("audit-00000002") {
      try FileManager.default.moveItem(atPath: "\(bench.settings.folder)/\(name)", toPath: "\(archive)/\(name)")
    }
    log = try await bench.open()
    try await bench.fill(log, 50, from: 50)
    await log.close()
    #expect(try bench.verify().finding?.what.contains("file 1 of the log is missing") == true)
    let found = try bench.verify(after: log.latestCheckpoint, [bench.settings.folder, archive])
    #expect(found.finding == nil && found.records == 100)
    #expect(throws: error(.invalidInput, .alreadyExists)) {
      _ = try AuditFiles(folders: [archive, archive])
    }
  }

  @Test("V11: one log a folder: another opening is refused while it is open")
  func locked() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    await #expect(throws: error(.busy, .conflict)) { _ = try await bench.open() }
    await log.close()
    await #expect(throws: AuditErrors.closed) { try await log.record(AuditBench.event("late")) }
    try await bench.open().close()
  }

  @Test("A tail that a crash left half written is cut; what was acknowledged before it stays")
  func tornTail() async throws {
    let bench = try await AuditBench()
    var log = try await bench.open()
    try await bench.fill(log, 3)
    await log.close()
    let name = "audit-00000001.jsonl"
    let whole = try #require(try bench.files()[name])
    let next = AuditRecord(number: 3, kept: 3, previous: AuditRecord.noPrevious, event: AuditBench.event("torn")).line
    let tails: [[UInt8]] = [
      Array(next.prefix(40)), [0, 0, 0], next, Array("{}\n".utf8), next + [0x0a] + next.prefix(9),
    ]
    for tail in tails {
      try bench.write(whole + tail, name)
      log = try await bench.open()
      await log.close()
      #expect(try bench.files()[name] == whole)
    }
    // A record that was whole and linked stays, though nobody was told.
    let previous = try MerkleTree.leaf(Array(whole.split(separator: 0x0a)[2]))
    let linked = AuditRecord(number: 3, kept: 3, previous: previous, event: AuditBench.event("whole")).line
    try bench.write(whole + linked + [0x0a] + next.prefix(9), name)
    log = try await bench.open()
    try await bench.fill(log, 1, from: 4)
    await log.close()
    #expect(try bench.requests == ["request-0", "request-1", "request-2", "whole", "request-4"])
    #expect(try bench.verify().finding == nil)
  }

  @Test("V11: an opening refuses by name a log that lacks records, or has others, and changes nothing in it")
  func missing() async throws {
    var bench = try await AuditBench()
    bench.settings.fileSize = 4 << 10
    let log = try await bench.open()
    try await bench.fill(log, 30)
    await log.close()
    let original = try bench.files()
    let name = try #require(original.keys.filter { $0.hasSuffix(".jsonl") }.max())
    let bytes = try #require(original[name])
    let lastLine = bytes.dropLast().lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
    var flipped = bytes
    flipped[bytes.count - 5] ^= 1
    for (damaged, reason) in [
      (Array(bytes.prefix(lastLine)), KeyCustodyError.Reason.truncated), (Array(bytes.dropLast(9)), .truncated),
      ([], .truncated), (flipped, .damaged),
    ] {
      try bench.write(damaged, name)
      let refused = await failure { _ = try await bench.open() }
      #expect(refused == error(.integrityFailure, reason))
      #expect(refused?.message.contains(name) == true, "\(String(describing: refused))")
      #expect(try bench.files()[name] == damaged)
    }
    try FileManager.default.removeItem(atPath: "\(bench.settings.folder)/\(name)")
    #expect(await failure { _ = try await bench.open() } == error(.integrityFailure, .truncated))
    try bench.write(bytes, name)
    try await bench.open().close()
  }

  @Test("V11: a record that was acknowledged after the latest checkpoint, and altered since, is refused by name")
  func alteredAfterCheckpoint() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    try await bench.fill(log, 6)
    let name = "audit-00000001.jsonl"
    var bytes = try #require(try bench.files()[name])
    // As after kill -9: nothing was signed since record 0.
    let store = try #require(try await bench.store.read(AuditState.record("checkpoint", of: bench.settings.origin)))
    await log.close()
    let now = try #require(try await bench.store.read(AuditState.record("checkpoint", of: bench.settings.origin)))
    _ = try await bench.store.compareAndSet(now.key, expecting: now.revision, value: store.value)
    try bench.write([], "audit-00000001.checkpoints")
    let lines = bytes.split(separator: 0x0a)
    bytes[lines[2].startIndex + 100] ^= 1
    try bench.write(bytes, name)
    let refused = await failure { _ = try await bench.open() }
    #expect(refused == error(.integrityFailure, .damaged))
    #expect(refused?.message.contains("Record 2 ") == true && refused?.message.contains("line 3") == true)
  }

  @Test("A log is not taken for another: by folder, by policy store, by name, by key provider")
  func mixedUp() async throws {
    var bench = try await AuditBench()
    let log = try await bench.open()
    try await bench.fill(log, 2)
    await log.close()
    let other = try await AuditBench()
    let environment = RuntimeEnvironment()
    await #expect(throws: error(.invalidInput, .backendMismatch)) {
      _ = try await AuditLog.open(bench.settings, store: other.store, signer: other.keys, environment: environment)
    }
    await #expect(throws: error(.invalidInput, .backendMismatch)) {
      _ = try await AuditLog.open(bench.settings, store: bench.store, signer: other.keys, environment: environment)
    }
    let folder = bench.settings.folder
    bench.settings.folder = other.settings.folder
    await #expect(throws: error(.integrityFailure, .truncated)) { _ = try await bench.open() }
    bench.settings.folder = folder
    bench.settings.origin = "vault.test/other"
    await #expect(throws: error(.invalidInput, .backendMismatch)) { _ = try await bench.open() }
    #expect(try await bench.keys.inventory?.versions(after: nil, limit: 10).count == 1, "no key for a refused opening")
    // Begun anew, as an operator does who has lost a log: another folder under another name.
    bench.settings.folder += "-2"
    let second = try await bench.open()
    try await bench.fill(second, 1)
    await second.close()
    #expect(second.verifierKey != log.verifierKey && second.latestCheckpoint?.size == 1)
  }

  @Test("Checkpoints are signed after so many records, after so much time, and at the end")
  func checkpoints() async throws {
    let clock = ManualClock()
    var bench = try await AuditBench(time: clock)
    bench.settings.checkpointRecords = 10
    let log = try await bench.open()
    #expect(log.latestCheckpoint?.size == 0, "from the beginning on")
    try await bench.fill(log, 10)
    while log.latestCheckpoint?.size != 10 { await Task.yield() }
    try await bench.fill(log, 1, from: 10)
    clock.advance(by: .seconds(3600))
    while log.latestCheckpoint?.size != 11 { await Task.yield() }
    try await bench.fill(log, 1, from: 11)
    await log.close()
    #expect(log.latestCheckpoint?.size == 12)
    #expect(log.latestCheckpoint?.note.hasPrefix("vault.test/audit\n12\n") == true)
    #expect(try bench.verify().checkpoints == 4)
  }

  @Test("A log that is written without a pause is signed after so many records, and not all the time")
  func busyCheckpoints() async throws {
    var bench = try await AuditBench(time: ManualClock())
    bench.settings.checkpointRecords = 50
    let (settled, log) = (bench, try await bench.open())
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 { group.addTask { try await settled.fill(log, 250, from: writer * 250) } }
      try await group.waitForAll()
    }
    await log.close()
    #expect(log.latestCheckpoint?.size == 1000)
    // One at the opening, one at the end, and at most one for each fifty.
    #expect(try bench.verify().checkpoints <= 22)
  }
}
