import Foundation
import KeyCustody
import KeyCustodyServices
import KeyCustodyTestSupport
import Testing

/// The two files of a value in a folder, which change together.
struct FolderPairTests {
  @Test("E6: a value whose replacement was cut off between its two files is the old one, or the new one, and whole")
  func cutOff() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.appending("data"))
    let (path, label) = (folder.appending("data/notes/x.sealed"), folder.appending("data/notes/x.sealed.json"))
    let files = FileManager.default
    try await store.put([1], as: "x", in: notes, identifiers: ["owner": "ann"])
    let first = (try Data(contentsOf: URL(fileURLWithPath: path)), try Data(contentsOf: URL(fileURLWithPath: label)))
    try await store.put([2], as: "x", in: notes, identifiers: ["owner": "bob"])
    let newLabel = try Data(contentsOf: URL(fileURLWithPath: label))
    #expect(try files.contentsOfDirectory(atPath: folder.appending("data/notes")).count == 2, "nothing is left over")
    // The label is the new one, the sealed file the old one.
    func halfway() throws {
      for (target, data) in [(path, first.0), (label, first.1)] {
        try? files.removeItem(atPath: target)
        try data.write(to: URL(fileURLWithPath: target))
        try files.linkItem(atPath: target, toPath: target + ".old")
      }
      try files.removeItem(atPath: label)
      try newLabel.write(to: URL(fileURLWithPath: label))
    }
    try halfway()
    #expect(try await store.get("x", in: notes) == [1])
    #expect(try files.contentsOfDirectory(atPath: folder.appending("data/notes")).count == 2)
    try halfway()
    #expect(try await store.items(of: notes.id, after: nil, limit: 9).first?.identifiers == ["owner": "ann"])
    try halfway()
    try await store.put([3], as: "x", in: notes, identifiers: ["owner": "cat"])
    #expect(try await store.get("x", in: notes) == [3])
    // Both are the new ones, and only the old names were left.
    for target in [path, label] { try first.0.write(to: URL(fileURLWithPath: target + ".old")) }
    #expect(try await store.get("x", in: notes) == [3])
    #expect(try files.contentsOfDirectory(atPath: folder.appending("data/notes")).count == 2)
  }
}
