import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A log can't be altered unseen (SEMANTICS V11).
struct AuditTamperTests {
  private enum Kind: CaseIterable { case flip, drop, swap, cut, insert, rewrite }

  /// The lines of a log, file by file.
  private struct Lines {
    var files: [(name: String, lines: [[UInt8]])]

    init(_ files: [String: [UInt8]]) {
      self.files = files.keys.filter { $0.hasSuffix(".jsonl") }.sorted().map { name in
        (name, (files[name] ?? []).split(separator: 0x0a).map(Array.init))
      }
    }

    var count: Int { files.reduce(0) { $0 + $1.lines.count } }

    subscript(record: Int) -> [UInt8] {
      get {
        let (file, line) = place(record)
        return files[file].lines[line]
      }
      set {
        let (file, line) = place(record)
        files[file].lines[line] = newValue
      }
    }

    func place(_ record: Int) -> (file: Int, line: Int) {
      var rest = record
      for (index, file) in files.enumerated() {
        if rest < file.lines.count { return (index, rest) }
        rest -= file.lines.count
      }
      return (files.count - 1, files[files.count - 1].lines.count)
    }

    mutating func remove(_ record: Int) {
      let (file, line) = place(record)
      files[file].lines.remove(at: line)
    }

    mutating func insert(_ bytes: [UInt8], at record: Int) {
      let (file, line) = place(record)
      files[file].lines.insert(bytes, at: line)
    }

    /// Changes a record and links all after it anew: what somebody does who knows the format, and not the key.
    mutating func rewrite(from record: Int) throws {
      var previous = AuditRecord.noPrevious
      for index in 0..<count {
        let old = try #require(AuditRecord(line: self[index]))
        var event = old.event
        if index == record { event.principal = "contoso/somebody-else" }
        let new = AuditRecord(number: old.number, kept: old.kept, previous: previous, event: event)
        self[index] = new.line
        previous = try MerkleTree.leaf(new.line)
      }
    }
  }

  /// Does something to the lines; answers which record is the first that is not as it was.
  private static func tamper(
    _ lines: inout Lines, _ kind: Kind, _ random: inout Dice
  ) throws -> (record: Int, isExact: Bool) {
    let count = lines.count
    let record = Int.random(in: 0..<count, using: &random)
    switch kind {
    case .flip:
      let place = Int.random(in: 0..<lines[record].count, using: &random)
      lines[record][place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      return (record, record < count - 1)
    case .drop:
      lines.remove(record)
      return (record, true)
    case .swap:
      let other = (record + Int.random(in: 1..<count, using: &random)) % count
      (lines[record], lines[other]) = (lines[other], lines[record])
      return (min(record, other), true)
    case .cut:
      for _ in record..<count { lines.remove(lines.count - 1) }
      return (record, true)
    case .insert:
      let other = (record + Int.random(in: 1..<count, using: &random)) % count
      lines.insert(lines[other], at: record)
      // Behind its own original it stands where the next was.
      return (record, true)
    case .rewrite:
      try lines.rewrite(from: record)
      return (record, false)
    }
  }

  @Test("V11: 100 tamperings, 100 found, and the first bad record is named")
  func tamperings() async throws {
    var bench = try await AuditBench()
    bench.settings.fileSize = 16 << 10
    bench.settings.checkpointRecords = 20
    let log = try await bench.open()
    for start in stride(from: 0, to: 200, by: 10) {
      try await bench.fill(log, 10, from: start)
      if start % 20 == 10 { try await log.checkpoint() }
    }
    await log.close()
    let original = try bench.files()
    #expect(Lines(original).files.count > 2 && Lines(original).count == 200)
    let sound = try bench.verify()
    #expect(sound.finding == nil && sound.records == 200 && sound.signed == 200 && sound.checkpoints >= 10)
    let key = try bench.verifier()
    var random = Dice(seed: 100)
    var (found, named) = (0, 0)
    for number in 0..<100 {
      let kind = Kind.allCases[number % Kind.allCases.count]
      var lines = Lines(original)
      let (record, isExact) = try Self.tamper(&lines, kind, &random)
      let copy = try TemporaryFolder()
      for (name, bytes) in original where !name.hasSuffix(".jsonl") { try copy.write(bytes, to: name) }
      for file in lines.files { try copy.write(file.lines.flatMap { $0 + [0x0a] }, to: file.name) }
      guard let finding = try AuditFiles(folders: [copy.path]).verify(key).finding else {
        Issue.record("\(number): \(kind) at \(record) was not found")
        continue
      }
      found += 1
      if isExact {
        #expect(finding.record == UInt64(record), "\(number): \(kind) at \(record): \(finding)")
        named += finding.record == UInt64(record) ? 1 : 0
      } else {
        #expect(
          finding.record <= UInt64(record) && UInt64(record) < finding.record + 21, "\(kind) \(record): \(finding)")
      }
    }
    #expect(found == 100)
    print("100 tamperings: \(found) found, the first bad record named exactly in \(named)")
  }

  @Test("A checkpoint that was altered, and a log without one, are not sound")
  func checkpoints() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    try await bench.fill(log, 5)
    await log.close()
    let name = "audit-00000001.checkpoints"
    let notes = try #require(try bench.files()[name])
    for place in notes.indices {
      var bad = notes
      bad[place] ^= 1
      try bench.write(bad, name)
      #expect(try bench.verify().finding != nil, "byte \(place)")
    }
    try bench.write([], name)
    #expect(try bench.verify().finding?.what.contains("no checkpoint") == true)
  }

  @Test("V11: a cut tail is found by a checkpoint that was kept elsewhere, whatever was done to the folder")
  func keptElsewhere() async throws {
    let bench = try await AuditBench()
    var log = try await bench.open()
    try await bench.fill(log, 10)
    await log.close()
    let early = try bench.files()
    log = try await bench.open()
    try await bench.fill(log, 10, from: 10)
    let kept = try #require(try await log.checkpoint())
    await log.close()
    #expect(kept.size == 20)
    #expect(try bench.verify(after: kept).finding == nil)
    for (name, bytes) in early { try bench.write(bytes, name) }
    #expect(try bench.verify().finding == nil, "the older folder is sound in itself")
    let finding = try #require(try bench.verify(after: kept).finding)
    #expect(finding.record == 10 && finding.line == 11)
    await #expect(throws: error(.integrityFailure, .truncated), "the policy store knows better") {
      _ = try await bench.open()
    }
  }

  @Test("A proof holds for the checkpoint's key and line alone")
  func proofs() async throws {
    var bench = try await AuditBench()
    bench.settings.fileSize = 8 << 10
    let log = try await bench.open()
    try await bench.fill(log, 30)
    let old = try #require(try await log.checkpoint())
    try await bench.fill(log, 45, from: 30)
    let new = try #require(try await log.checkpoint())
    await log.close()
    let files = try AuditFiles(folders: [bench.settings.folder])
    for record in [0, 1, 29, 30, 44, 74] as [UInt64] {
      let proof = try files.inclusionProof(of: record, in: new)
      #expect(try proof.isValid() && proof.line.contains("\"request\":\"request-\(record)\""))
    }
    let hashes = try files.consistencyProof(from: old, to: new)
    #expect(try MerkleProof.verify(from: old, to: new, proof: hashes))
    #expect(throws: error(.invalidInput, .wrongSize)) { _ = try files.inclusionProof(of: 30, in: old) }
    #expect(throws: error(.invalidInput, .wrongSize)) { _ = try files.consistencyProof(from: new, to: old) }
    let other = try await AuditBench()
    let stranger = try await other.open()
    await stranger.close()
    #expect(throws: error(.integrityFailure, .notAuthentic)) {
      _ = try AuditCheckpoint(note: new.note, key: stranger.verifierKey)
    }
  }
}
