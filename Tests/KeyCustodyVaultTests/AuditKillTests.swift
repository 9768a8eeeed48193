import Foundation
import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// What was acknowledged survives kill -9 (SEMANTICS V11).
struct AuditKillTests {
  @Test("V11: killed twenty times at any moment, the log holds every record that was acknowledged, and is sound")
  func killed() async throws {
    let folder = try TemporaryFolder()
    try folder.write((0..<32).map { UInt8($0) }, to: "key")
    var random = Dice(seed: 22)
    var acknowledged: Set<String> = []
    for run in 0..<20 {
      let names = try Self.run(folder, run, killAfter: Int.random(in: 1...400, using: &random))
      acknowledged.formUnion(names)
    }
    let last = try Self.run(folder, 20, killAfter: nil)
    #expect(last.contains("closed") && last.count == 161, "the last run went to its end")
    acknowledged.formUnion(last.filter { $0 != "closed" })
    let files = try AuditFiles(folders: [folder.appending("audit")])
    var recorded: [String: Int] = [:]
    try files.forEach { record in
      recorded[record.event.requestID, default: 0] += 1
      return true
    }
    #expect(acknowledged.subtracting(recorded.keys).isEmpty, "an acknowledged record is missing")
    #expect(recorded.values.allSatisfy { $0 == 1 }, "a record stands twice")
    #expect(acknowledged.count > 1000)
    let key = try AuditVerifierKey(
      String(decoding: try folder.read("audit/verifier.key").dropLast(), as: UTF8.self))
    let found = try files.verify(key)
    #expect(found.finding == nil, "\(String(describing: found.finding))")
    #expect(found.signed == found.records && found.files > 1 && found.records == recorded.count)
    print("killed 20 times: \(acknowledged.count) acknowledged, \(recorded.count) recorded, \(found.files) files")
  }

  /// Starts the process and kills it after so many acknowledgements.
  ///
  /// - Returns: what it acknowledged.
  private static func run(_ folder: TemporaryFolder, _ run: Int, killAfter limit: Int?) throws -> [String] {
    let process = Process()
    process.executableURL = URL(filePath: try Executable("KeyCustodyAuditProbe").path)
    process.arguments = [folder.path, "run\(run)", limit == nil ? "20" : "1000000"]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    var text: [UInt8] = []
    var isKilled = false
    while case let more = output.fileHandleForReading.availableData, !more.isEmpty {
      text += more
      if let limit, !isKilled, text.count(where: { $0 == 0x0a }) >= limit {
        isKilled = true
        kill(process.processIdentifier, SIGKILL)
      }
    }
    process.waitUntilExit()
    #expect(process.terminationReason == (limit == nil ? .exit : .uncaughtSignal), "run \(run)")
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
