import Foundation
import KeyCustody
import KeyCustodyMemory
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// Without a record there is no answer (SEMANTICS V11), whatever the disk does.
struct AuditFaultTests {
  private let refused = error(.unavailable, .auditUnavailable)

  @Test(
    "V11: a disk that is full, read-only, tears or loses writes refuses records, and the log goes on after it",
    arguments: [SteeredAuditFiles.Fault.full, .readOnly, .torn, .unsynchronized], [false, true])
  func faults(_ fault: SteeredAuditFiles.Fault, keepsTail: Bool) async throws {
    var bench = try await AuditBench()
    // Small files: a fault meets the beginning of a new one too.
    bench.settings.fileSize = 1 << 10
    var log = try await bench.open()
    var sound: [String] = []
    for round in 0..<6 {
      try await bench.fill(log, 2, from: round * 10)
      sound += (0..<2).map { "request-\(round * 10 + $0)" }
      bench.system.fail(fault, keepingTail: keepsTail)
      var refusals = 0
      for number in 2..<4 {
        let outcome = await failure { try await bench.fill(log, 1, from: round * 10 + number) }
        if fault == .readOnly, outcome == nil {
          sound.append("request-\(round * 10 + number)")
        } else {
          #expect(outcome == refused && outcome?.remedy.isEmpty == false)
          refusals += 1
        }
      }
      #expect(refusals > 0)
      bench.system.fail(nil)
    }
    try await bench.fill(log, 1, from: 100)
    await log.close()
    log = try await bench.open()
    try await bench.fill(log, 1, from: 101)
    await log.close()
    #expect(try bench.requests == sound + ["request-100", "request-101"])
    let found = try bench.verify()
    #expect(found.finding == nil, "\(String(describing: found.finding))")
  }

  @Test(
    "V11: a disk that hangs: refused at the deadline, at once after it, and taken again when it answers",
    .timeLimit(.minutes(10)))
  func hanging() async throws {
    let clock = ManualClock()
    var bench = try await AuditBench(time: clock)
    bench.settings.deadline = .seconds(5)
    let log = try await bench.open()
    let system = bench.system
    system.fail(.hung)
    let waiting = Task { await failure { try await log.record(AuditBench.event("hung")) } }
    await system.untilHung()
    clock.advance(by: .seconds(5))
    #expect(await waiting.value == refused)
    // The clock stands still: whoever waited for a disk that is known to hang would wait for ever.
    for number in 0..<100 {
      #expect(await failure { try await log.record(AuditBench.event("after-\(number)")) } == refused)
    }
    system.fail(nil)
    while await failure({ try await log.record(AuditBench.event("again")) }) != nil { await Task.yield() }
    await log.close()
    // It was in hand when its caller was refused: a record without an answer, never an answer without a record.
    #expect(try bench.requests == ["hung", "again"])
    #expect(try bench.verify().finding == nil)
  }

  @Test("V11: a log whose file was moved, cut or written by others takes nothing any more", arguments: 0..<4)
  func changedByOthers(_ change: Int) async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    try await bench.fill(log, 3)
    let path = bench.folder.appending("audit/audit-00000001.jsonl")
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    switch change {
    case 0: try FileManager.default.moveItem(atPath: path, toPath: bench.folder.appending("moved"))
    case 1: try handle.truncate(atOffset: 10)
    case 2:
      try handle.seekToEnd()
      try handle.write(contentsOf: Data([0x0a]))
    default: try FileManager.default.removeItem(atPath: path)
    }
    for number in 3..<6 { #expect(await failure { try await bench.fill(log, 1, from: number) } == refused) }
    await log.close()
  }

  @Test("V11: a vault whose audit log can't be written answers nothing and does nothing")
  func withheld() async throws {
    let vault = try await VaultBench()
    var bench = try await AuditBench(time: vault.clock)
    bench.settings.deadline = .seconds(5)
    let log = try await bench.open()
    let vaults = Vaults(
      store: vault.records, providers: ["keys": vault.keys], domain: "vault.test", audit: log,
      environment: RuntimeEnvironment(time: vault.clock))
    let made = try await vaults.createKey(
      vault.uri("key"), type: .aes(bits: 256), role: .wrapping, as: vault.owner, context: vault.context)
    let (held, system) = (try await vault.inventory(), bench.system)
    for fault in [SteeredAuditFiles.Fault.full, .unsynchronized, .torn] {
      system.fail(fault)
      #expect(
        await failure {
          _ = try await vaults.wrap(
            vault.secret(), with: made.uri, algorithm: .aes256KW, as: vault.owner, context: vault.context)
        } == refused)
      #expect(
        await failure { _ = try await vaults.rotateKey(vault.uri("key"), as: vault.owner, context: vault.context) }
          == refused)
      #expect(try await vault.inventory() == held, "no key without its intent on record")
    }
    system.fail(.hung)
    let waiting = Task {
      await failure {
        _ = try await vaults.wrap(
          vault.secret(), with: made.uri, algorithm: .aes256KW, as: vault.owner, context: vault.context)
      }
    }
    await system.untilHung()
    vault.clock.advance(by: .seconds(5))
    #expect(await waiting.value == refused)
    system.fail(nil)
    await log.close()
    #expect(try bench.verify().finding == nil)
  }

  @Test("RELIABILITY 36: a file whose name could not be brought to the disk takes no record before it is there")
  func names() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    bench.system.fail(.unsynchronized)
    #expect(await failure { try await log.record(AuditBench.event("1")) }?.reason == .auditUnavailable)
    bench.system.fail(nil)
    let before = bench.system.folders
    try await log.record(AuditBench.event("2"))
    #expect(bench.system.folders > before, "the file is there by now, its name may not be")
    await log.close()
    #expect(try bench.requests == ["2"])
  }
}
