import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Where sealed values are kept.
struct SealedStoreTests {
  private static let oddNames = [
    "plain", "with/slash", "../../etc/passwd", "..", ".", ".hidden", "a.sealed", "a.sealed.json", "a", "A",
    "spaces and\nlines", "percent%2fslash", "percent%252f", "ünïcode ☃", "~tilde", "nul\u{0}byte", "-dash",
    String(repeating: "x", count: 200), String(repeating: "x", count: 201), String(repeating: "x", count: 512),
    String(repeating: "x", count: 511) + "y", String(repeating: "ü", count: 256), String(repeating: "/", count: 512),
  ]

  @Test("Any name keeps its value apart from any other, inside the folder, and is listed as it was given")
  func oddNames() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.appending("data"))
    for name in Self.oddNames { try await store.put(Array(name.utf8), as: name, in: notes) }
    for name in Self.oddNames {
      #expect(try await store.get(name, in: notes) == Array(name.utf8), "\(name.prefix(20))")
    }
    let items = try await store.items(of: notes.id, after: nil, limit: 1000)
    #expect(Set(items.map(\.object)) == Set(Self.oddNames) && items.count == Self.oddNames.count)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["data"], "nothing got outside")
    let made = try FileManager.default.contentsOfDirectory(atPath: folder.appending("data"))
    #expect(made.sorted() == [".key-custody", "notes"])
    let key = try await bench.makeKey()
    try await notes.enableCustomerKey(key, converting: [store])
    for name in Self.oddNames { #expect(try await store.get(name, in: notes) == Array(name.utf8)) }
    for name in Self.oddNames { try await store.remove(name, of: notes.id) }
    #expect(try await store.items(of: notes.id, after: nil, limit: 10).isEmpty)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.appending("data/notes")).isEmpty)
    try await store.remove("never there", of: notes.id)
    #expect(await failure { _ = try await store.get("plain", in: notes) }?.code == .notFound)
    #expect(await failure { try await store.put([1], as: "", in: notes) }?.reason == .wrongSize)
    let tooLong = String(repeating: "x", count: 513)
    #expect(await failure { try await store.put([1], as: tooLong, in: notes) }?.reason == .wrongSize)
  }

  @Test("What is not there, or can't be made, is named as the caller knows it, with what can be done about it")
  func names() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.path)
    try await store.put([1], as: "there", in: notes)
    let target = folder.appending("target")
    let missing = [
      await failure { _ = try await store.get("my note\n", in: notes) },
      await failure { try await store.getFile("my note\n", in: notes, to: target) },
    ]
    for error in missing {
      #expect(error == KeyCustodyError(.notFound, .unreachable, ""))
      #expect(error?.message == "The folder '\(folder.path)' keeps no item 'my note?' of 'notes'.")
      #expect(error?.remedy.isEmpty == false)
    }
    let above = try FolderSealedStore(folder: folder.appending("nowhere/data"))
    let unmade = await failure { try await above.put([1], as: "there", in: notes) }
    #expect(unmade == KeyCustodyError(.notFound, .unreachable, ""))
    #expect(unmade?.message.contains("'\(folder.appending("nowhere/data"))'") == true)
    #expect(unmade?.remedy.contains("mkdir -p") == true)
  }

  @Test("Items come in pages that leave nothing out and repeat nothing", arguments: [1, 2, 7, 100])
  func paging(_ limit: Int) async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let other = try await bench.makeResource("other")
    let folder = try TemporaryFolder()
    let files = try FolderSealedStore(folder: folder.path)
    let memory = MemorySealedStore()
    for name in Self.oddNames {
      try await files.put([1], as: name, in: notes)
      try memory.put(try await notes.seal([1], as: name), as: name, of: notes.id)
    }
    try await files.put([1], as: "foreign", in: other)
    try memory.put(try await other.seal([1], as: "foreign"), as: "foreign", of: other.id)
    for store in [files, memory] as [any SealedStore] {
      var seen: [String] = []
      while true {
        let page = try await store.items(of: notes.id, after: seen.last, limit: limit)
        #expect(page.count <= limit)
        seen += page.map(\.object)
        if page.count < limit { break }
      }
      #expect(seen.count == Self.oddNames.count && Set(seen) == Set(Self.oddNames))
    }
    #expect(try await files.items(of: ResourceID("none"), after: nil, limit: 10).isEmpty)
  }

  @Test("E14: a changed, swapped or missing label is found on opening")
  func tamperedLabels() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.path)
    try await store.put([1], as: "one", in: notes, identifiers: ["user": "ada"])
    try await store.put([2], as: "two", in: notes, identifiers: ["user": "bob"])
    let label = try folder.read("notes/one.sealed.json")
    let text = String(decoding: label, as: UTF8.self)
    for changed in [
      text.replacing("ada", with: "eve"), text.replacing("user", with: "admin"),
      text.replacing("long-term", with: "serving-copy"),
      text.replacing("\"identifiers\":{\"user\":\"ada\"}", with: "\"identifiers\":{}"),
    ] {
      #expect(changed != text)
      try folder.write(Array(changed.utf8), to: "notes/one.sealed.json")
      #expect(await failure { _ = try await store.get("one", in: notes) }?.code == .integrityFailure, "\(changed)")
      let target = folder.appending("out")
      #expect(await failure { try await store.getFile("one", in: notes, to: target) } != nil)
    }
    for damaged in ["", "{}", "[]", "{\"object\":1}", "\u{0}"] {
      try folder.write(Array(damaged.utf8), to: "notes/one.sealed.json")
      #expect(await failure { _ = try await store.get("one", in: notes) } == error(.integrityFailure, .damaged))
      let listing = await failure { _ = try await store.items(of: notes.id, after: nil, limit: 10) }
      #expect(listing == error(.integrityFailure, .damaged), "listed items are never left out silently")
      #expect(listing?.message.contains("one.sealed.json") == true)
    }
    try folder.write(label, to: "notes/one.sealed.json")
    // The sealed files swapped.
    let (one, two) = (try folder.read("notes/one.sealed"), try folder.read("notes/two.sealed"))
    try folder.write(two, to: "notes/one.sealed")
    #expect(await failure { _ = try await store.get("one", in: notes) }?.reason == .notAuthentic)
    try folder.write(one, to: "notes/one.sealed")
    #expect(try await store.get("one", in: notes) == [1])
    try FileManager.default.removeItem(atPath: folder.appending("notes/one.sealed.json"))
    #expect(await failure { _ = try await store.get("one", in: notes) } != nil)
  }

  @Test("E14: a label that names another object sends a conversion nowhere else")
  func labelOfAnother() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.path)
    try await store.put([1], as: "one", in: notes)
    try await store.put([2], as: "two", in: notes)
    let label = try folder.read("notes/one.sealed.json")
    try folder.write(try folder.read("notes/two.sealed.json"), to: "notes/one.sealed.json")
    #expect(await failure { try await notes.enableCustomerKey(key, converting: [store]) }?.code == .integrityFailure)
    #expect(try await notes.status().outgoingRootKeys == 1, "the old root key is kept")
    try folder.write(label, to: "notes/one.sealed.json")
    try await notes.resumeConversion(of: [store])
    #expect(try await store.get("one", in: notes) == [1])
    #expect(try await store.get("two", in: notes) == [2])
  }

  @Test("Leftovers of a write that was cut off are no items")
  func leftovers() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.path)
    try await store.put([1], as: "one", in: notes)
    try folder.write([1, 2, 3], to: "notes/two.sealed.json")
    try folder.write([1, 2, 3], to: "notes/one.sealed.new")
    try folder.write([1, 2, 3], to: "notes/.one.sealed.0011223344556677.part")
    #expect(try await store.items(of: notes.id, after: nil, limit: 10).map(\.object) == ["one"])
    try await store.put([2], as: "one", in: notes)
    #expect(try await store.get("one", in: notes) == [2])
  }

  @Test("A value put again with other identifiers replaces the first, through either of two stores of one folder")
  func replacing() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let stores = [try FolderSealedStore(folder: folder.path), try FolderSealedStore(folder: folder.path)]
    await withTaskGroup(of: Void.self) { group in
      for (number, store) in stores.enumerated() {
        group.addTask {
          for round in 0..<50 {
            let outcome = await failure {
              try await store.put([UInt8(number), UInt8(round)], as: "shared", in: notes)
              let found = try await store.get("shared", in: notes)
              #expect(found.count == 2)
            }
            #expect(outcome == nil)
          }
        }
      }
    }
    #expect(try await stores[0].get("shared", in: notes).last == 49)
  }

  @Test("E6: a value that is put while it is converted is not overwritten by its older form")
  func putWhileConverting() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let folder = try TemporaryFolder()
    let files = try FolderSealedStore(folder: folder.path)
    let memory = MemorySealedStore()
    try await files.put([1], as: "value", in: notes, identifiers: ["v": "1"])
    try memory.put(try await notes.seal([1], as: "value"), as: "value", of: notes.id)
    _ = await failure {
      try await notes.enableCustomerKey(key, converting: [InterruptedStore(files, failing: 1)])
    }
    // The conversion looked at the items, and before it renews them they are written anew.
    let looked = Looking(files) { try await files.put([2], as: "value", in: notes, identifiers: ["v": "2"]) }
    let alsoLooked = Looking(memory) {
      try memory.put(try await notes.seal([2], as: "value"), as: "value", of: notes.id)
    }
    try await notes.resumeConversion(of: [looked, alsoLooked])
    #expect(try await files.get("value", in: notes) == [2])
    #expect(try await notes.open(#require(memory.get("value", of: notes.id)), as: "value") == [2])
  }

  @Test("E6: an item that is removed while it is converted is gone, and stops nothing", arguments: [true, false])
  func removeWhileConverting(isObject: Bool) async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let folder = try TemporaryFolder()
    let files = try FolderSealedStore(folder: folder.appending("data"))
    if isObject {
      let source = try folder.write([UInt8](repeating: 1, count: 100_000), to: "source")
      try await files.putFile(source, as: "value", in: notes)
    } else {
      try await files.put([1], as: "value", in: notes)
    }
    try await files.put([2], as: "zzz", in: notes)
    let looked = Looking(files) { try await files.remove("value", of: notes.id) }
    try await notes.enableCustomerKey(key, converting: [looked])
    #expect(try await files.items(of: notes.id, after: nil, limit: 10).map(\.object) == ["zzz"])
    #expect(try await files.get("zzz", in: notes) == [2])
  }

  @Test("A folder that is not there does not pass for one without data")
  func missingFolder() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.appending("not-mounted"))
    let key = try await bench.makeKey()
    #expect(await failure { try await notes.enableCustomerKey(key, converting: [store]) }?.reason == .storeUnknown)
    // What is left of a volume that is not mounted: an empty folder.
    try FileManager.default.createDirectory(atPath: folder.appending("not-mounted"), withIntermediateDirectories: false)
    #expect(await failure { try await notes.resumeConversion(of: [store]) }?.reason == .storeUnknown)
    // Or one with somebody else's files.
    try folder.write([1], to: "not-mounted/NOT_MOUNTED")
    try FileManager.default.createDirectory(
      atPath: folder.appending("not-mounted/lost"), withIntermediateDirectories: false)
    #expect(await failure { try await notes.resumeConversion(of: [store]) }?.reason == .storeUnknown)
    let empty = try FolderSealedStore(folder: folder.appending("empty"))
    for _ in 0..<2 { try await empty.prepare() }
    #expect(try await empty.items(of: notes.id, after: nil, limit: 10).isEmpty)
    try await store.put([1], as: "value", in: notes)
    try await notes.resumeConversion(of: [store])
    #expect(try await store.get("value", in: notes) == [1])
  }
}

/// A store where something happens between the first look at the items and the first renewal.
private final class Looking: SealedStore {
  private let inner: any SealedStore
  private let action: OnceAction

  init(_ inner: any SealedStore, _ action: @escaping @Sendable () async throws -> Void) {
    self.inner = inner
    self.action = OnceAction(action)
  }
  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await inner.items(of: resource, after: object, limit: limit)
  }
  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    await action.run()
    try await inner.renew(item, renewal)
  }
}

private actor OnceAction {
  private var action: (@Sendable () async throws -> Void)?
  init(_ action: @escaping @Sendable () async throws -> Void) { self.action = action }
  func run() async {
    let action = self.action
    self.action = nil
    let outcome = await failure { try await action?() }
    #expect(outcome == nil)
  }
}
