import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import Testing

/// What becomes of files that are not as they were written.
struct KeyFileDamageTests {
  private static let damaged = KeyCustodyError.of(.integrityFailure, .damaged)

  @Test("A torn, empty, foreign, changed or renamed key file is refused by name, and other keys go on working")
  func damagedKeys() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let good = try await provider.generate(try store.request(), context: store.context)
    let bad = try await provider.generate(try store.request(.ec(.p256), .signing), context: store.context)
    let other = try FileStore()
    let foreign = try await other.openKeys()
    _ = try await foreign.generate(
      GenerateKeyRequest(version: bad.version, type: .aes(bits: 256), role: .wrapping), context: store.context)
    await foreign.close()

    let name = "keys/keys/\(bad.version).key"
    let whole = try store.folder.read(name)
    var variants: [[UInt8]] = [
      [], Array("hello".utf8), try other.folder.read(name), try store.folder.read("keys/keys/\(good.version).key"),
      whole + [0], [UInt8](repeating: 7, count: 70_000),
    ]
    variants += stride(from: 1, to: whole.count, by: 7).map { Array(whole.prefix($0)) }
    variants += whole.indices.filter { $0 != 4 }.map { index in
      var changed = whole
      changed[index] ^= 1 << UInt8(index % 8)
      return changed
    }
    for variant in variants {
      try store.folder.write(variant, to: name)
      let error = await #expect(throws: Self.damaged) {
        try await provider.describe(bad.version, context: store.context)
      }
      #expect(error?.message.contains(name) == true)
      #expect(error?.remedy.isEmpty == false)
    }
    print("damaged key files refused: \(variants.count)")
    #expect(try await provider.inventory?.versions(after: nil, limit: 10) == [good.version])
    #expect(try await provider.describe(good.version, context: store.context) == good)
    try await provider.probe(good.version, context: store.context)

    try store.folder.write(whole, to: name)
    #expect(try await provider.describe(bad.version, context: store.context) == bad)
    await provider.close()
  }

  @Test("A key file of a later format is told apart from a damaged one")
  func laterFormat() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let key = try await provider.generate(try store.request(), context: store.context)
    var bytes = try store.folder.read("keys/keys/\(key.version).key")
    bytes[4] = 2
    try store.folder.write(bytes, to: "keys/keys/\(key.version).key")
    await #expect(throws: KeyCustodyError.of(.integrityFailure, .unknownFormat)) {
      try await provider.describe(key.version, context: store.context)
    }
    await provider.close()
  }

  @Test("Any changed bit of store.json is damage, never a wrong passphrase")
  func damagedStore() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    await provider.close()
    let whole = try store.folder.read("keys/store.json")
    for index in whole.indices {
      var changed = whole
      changed[index] ^= 1 << UInt8(index % 8)
      try store.folder.write(changed, to: "keys/store.json")
      let error = await #expect(throws: KeyCustodyError.self) { try await store.openKeys() }
      #expect(error?.code == .integrityFailure, "bit of byte \(index): \(error?.description ?? "none")")
      #expect(error?.message.contains("store.json") == true)
    }
    for length in [0, 1, whole.count / 2, whole.count - 1] {
      try store.folder.write(Array(whole.prefix(length)), to: "keys/store.json")
      await #expect(throws: Self.damaged) { try await store.openKeys() }
    }
    try store.folder.write(whole, to: "keys/store.json")
    await (try await store.openKeys()).close()
  }

  @Test("A store whose store.json is lost is not quietly replaced by a new one")
  func lostStoreFile() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    _ = try await provider.generate(try store.request(), context: store.context)
    await provider.close()
    try POSIXFileSystem().remove(store.keys + "/store.json")
    let error = await #expect(throws: Self.damaged) { try await store.openKeys() }
    #expect(error?.message.contains("store.json") == true)
  }

  @Test("What interrupted writers left is ignored and removed at opening")
  func leftovers() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let key = try await provider.generate(try store.request(), context: store.context)
    await provider.close()
    let name = ".0123456789abcdef0123456789abcdef.tmp"
    try store.folder.write([1, 2, 3], to: "keys/keys/\(name)")
    try store.folder.write([1, 2, 3], to: "keys/\(name)")
    let again = try await store.openKeys()
    #expect(try await again.inventory?.versions(after: nil, limit: 10) == [key.version])
    #expect(try POSIXFileSystem().names(in: store.keys + "/keys") == ["\(key.version).key"])
    #expect(try POSIXFileSystem().names(in: store.keys).sorted() == ["keys", "lock", "store.json"])
    // Somebody else may be at work now: nothing is removed while another opening lives.
    try store.folder.write([1, 2, 3], to: "keys/keys/\(name)")
    let third = try await store.openKeys()
    #expect(try POSIXFileSystem().names(in: store.keys + "/keys").contains(name))
    await third.close()
    await again.close()
  }

  @Test("A store that vanished is unavailable, which is not the same as its keys being gone")
  func vanished() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let key = try await provider.generate(try store.request(), context: store.context)
    try POSIXFileSystem().rename(store.keys, to: store.keys + "-away")
    for _ in 0..<2 {
      await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
        try await provider.describe(key.version, context: store.context)
      }
      await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
        try await provider.probe(nil, context: store.context)
      }
      // Nor is another store in its place mistaken for it.
      if try POSIXFileSystem().status(store.keys, followingLink: false) == nil {
        await (try await store.openKeys()).close()
      }
    }
    await provider.close()
  }
}
