import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

/// A customer's key over sealed data that is kept in tables.
@Suite("Sealed data in tables", .timeLimit(.minutes(10)))
struct SealedTableTests {
  private static let count = 250

  @Test(
    "E6, E7, E11: hundreds of items are converted while others are written, and none is left under an old root key",
    arguments: [Backing.memory, .sqlite, .postgresql])
  func conversions(_ backing: Backing) async throws {
    let bench = try await TableBench(backing)
    let (notes, store) = (bench.notes, bench.store)
    try await bench.fill(Self.count)
    var written = Set<String>()
    var former = try await bench.rootKeys()
    for step in TableBench.Step.allCases {
      written.formUnion(try await bench.whileWriting(step) { try await bench.take(step) })
      let keys = try await bench.rootKeys()
      #expect(keys.count == 1 && keys.isDisjoint(with: former), "\(step): every item is under the new root key")
      former.formUnion(keys)
      let status = try await notes.status()
      #expect(status.outgoingRootKeys == 0 && status.health == .available)
      for number in 0..<Self.count {
        let name = TableBench.name(number)
        #expect(try await store.get(name, in: notes) == Array(name.utf8), "\(step)")
      }
      for name in written { #expect(try await store.get(name, in: notes) == Array(name.utf8), "\(step)") }
    }
    #expect(written.count >= 3)
    // The customer takes the key away, which has no effect any more.
    try await bench.custody.vaults.removeRule("service", in: bench.vault)
    #expect(try await store.get(TableBench.name(0), in: notes) == Array(TableBench.name(0).utf8))
    try await store.removeAll(of: notes.id)
    #expect(try await store.items(of: notes.id, after: nil, limit: 10).isEmpty)
    await bench.close()
  }

  @Test("E6: what is converted already is not read again", arguments: [Backing.memory, .sqlite, .postgresql])
  func resumed(_ backing: Backing) async throws {
    let bench = try await TableBench(backing)
    try await bench.fill(250)
    let counted = CountingTable(bench.table)
    let store = TableSealedStore(counted)
    try await bench.notes.enableCustomerKey(bench.key, converting: [store])
    // Three pages, the empty one after them, and the empty one of the pass that finds nothing left.
    #expect(counted.rows == 250 && counted.pages == 5)
    #expect(try await bench.notes.resumeConversion(of: [store]) == 0)
    #expect(counted.rows == 250)
    await bench.close()
  }

  @Test("A value over 1 MiB is refused by what to do with it, the largest one kept")
  func sizes() async throws {
    let bench = try await TableBench(.sqlite)
    let largest = [UInt8](repeating: 7, count: 1 << 20)
    try await bench.store.put(largest, as: "large", in: bench.notes)
    #expect(try await bench.store.get("large", in: bench.notes) == largest)
    let error = await #expect(throws: KeyCustodyError.of(.invalidInput, .wrongSize)) {
      try await bench.store.put(largest + [7], as: "large", in: bench.notes)
    }
    #expect(error?.remedy.contains("FolderSealedStore") == true && error?.message.contains("'large'") == true)
    await bench.close()
  }

  @Test("E14: an altered label, and a value moved to another name, do not open, and are named")
  func altered() async throws {
    let bench = try await TableBench(.memory)
    let (notes, store, table) = (bench.notes, bench.store, bench.table)
    try await store.put([1], as: "one", in: notes, identifiers: ["user": "ada"])
    let row = try #require(try await table.read("one", of: notes.id))
    #expect(String(decoding: row.label, as: UTF8.self) == #"{"dataClass":"long-term","identifiers":{"user":"ada"}}"#)
    let forged = Array(#"{"dataClass":"long-term","identifiers":{"user":"eve"}}"#.utf8)
    for (label, name) in [(forged, "one"), (row.label, "two")] {
      try await table.put(row.sealed, label: label, as: name, of: notes.id)
      let error = await #expect(throws: KeyCustodyError.of(.integrityFailure, .notAuthentic)) {
        try await store.get(name, in: notes)
      }
      #expect(error?.message.contains("'\(name)' in a table in memory") == true)
    }
    for label in ["", "{}", "[]"] {
      try await table.put(row.sealed, label: Array(label.utf8), as: "one", of: notes.id)
      let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
      await #expect(throws: damaged) { try await store.get("one", in: notes) }
      let listing = await #expect(throws: damaged) { try await store.items(of: notes.id, after: nil, limit: 9) }
      #expect(listing?.message.contains("'one'") == true)
    }
    try await table.put(row.sealed, label: row.label, as: "one", of: notes.id)
    #expect(try await store.get("one", in: notes) == [1])
    let missing = await #expect(throws: KeyCustodyError.of(.notFound, .unreachable)) {
      try await store.get("none", in: notes)
    }
    #expect(missing?.message.contains("'none' of 'contoso-notes'") == true)
    await bench.close()
  }

  @Test(
    "E6: what is put or removed between the look at an item and its renewal stays as it is", arguments: [true, false])
  func changedMeanwhile(isRemoved: Bool) async throws {
    let bench = try await TableBench(.sqlite)
    let (notes, store) = (bench.notes, bench.store)
    try await bench.fill(3)
    let changing = CountingTable(bench.table) { [bench] in
      // Between reading the sealed bytes and writing the renewed ones.
      if isRemoved {
        try await bench.table.remove(TableBench.name(1), of: bench.notes.id)
      } else {
        try await bench.store.put([2], as: TableBench.name(1), in: bench.notes, identifiers: ["v": "2"])
      }
    }
    try await notes.enableCustomerKey(bench.key, converting: [TableSealedStore(changing)])
    if isRemoved {
      await #expect(throws: KeyCustodyError.of(.notFound, .unreachable)) {
        try await store.get(TableBench.name(1), in: notes)
      }
    } else {
      #expect(try await store.get(TableBench.name(1), in: notes) == [2])
    }
    #expect(try await bench.rootKeys().count == 1)
    await bench.close()
  }
}
