import KeyCustody
import KeyCustodyMemory
import Testing

/// What a view remembers of records that it decoded.
struct RecordViewTests {
  private struct Note: Codable, Sendable, Hashable {
    var text: String
  }

  private func write(
    _ text: String, at key: RecordKey, in store: any PolicyStore
  ) async throws {
    let revision = try await store.read(key)?.revision
    guard case .stored = try await store.compareAndSet(key, expecting: revision, value: Array(text.utf8)) else {
      throw KeyCustodyError(.fault, .internalFault, "Somebody else wrote the record.")
    }
  }

  @Test("A view that has decoded a record sees every change of it at once, whoever makes it")
  func changes() async throws {
    let store = try MemoryPolicyStore()
    let key = try RecordKey("notes/one")
    let (mine, other) = (RecordView<Note>(store), RecordView<Note>(store))
    #expect(try await mine.create(key, Note(text: "first")))
    for number in 1...20 {
      #expect(try await mine.read(key) == other.read(key))
      let next = Note(text: "\(number)")
      // By another view, by this one, and by somebody who knows of no views.
      switch number % 3 {
      case 0: try await other.update(key) { $0 = next }
      case 1: try await mine.update(key) { $0 = next }
      default: try await write(#"{"text":"\#(number)"}"#, at: key, in: store)
      }
      #expect(try await mine.read(key) == next)
      let revised = try await mine.readRevised(key)
      #expect(try await revised?.revision == store.read(key)?.revision)
    }
    // The same bytes written anew have another revision.
    let before = try await mine.readRevised(key)?.revision
    _ = try await other.remove(key)
    #expect(try await mine.read(key) == nil)
    #expect(try await other.create(key, Note(text: "20")))
    let after = try #require(try await mine.readRevised(key)?.revision)
    #expect(try #require(before) < after)
  }

  @Test("A record that is damaged after it was decoded is told to be damaged")
  func damage() async throws {
    let store = try MemoryPolicyStore()
    let key = try RecordKey("notes/one")
    let view = RecordView<Note>(store)
    #expect(try await view.create(key, Note(text: "whole")))
    #expect(try await view.read(key) == Note(text: "whole"))
    let damaged = KeyCustodyError(.integrityFailure, .damaged, "")
    try await write("{", at: key, in: store)
    await #expect(throws: damaged) { try await view.read(key) }
    try await write(#"{"text":"again"}"#, at: key, in: store)
    #expect(try await view.read(key) == Note(text: "again"))
  }

  @Test("More records than a view remembers, and larger ones, are read as they are")
  func manyRecords() async throws {
    let store = try MemoryPolicyStore()
    let view = RecordView<Note>(store)
    for round in 0..<2 {
      for number in 0..<64 {
        let key = try RecordKey("notes/\(number)")
        let note = Note(text: String(repeating: "\(round)", count: number * 400))
        if round == 0 { _ = try await view.create(key, note) } else { try await view.update(key) { $0 = note } }
        #expect(try await view.read(key) == note)
      }
      for number in 0..<64 {
        let found = try await view.read(try RecordKey("notes/\(number)"))
        #expect(found == Note(text: String(repeating: "\(round)", count: number * 400)))
      }
    }
  }
}
