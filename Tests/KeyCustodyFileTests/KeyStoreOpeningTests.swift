import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What opens a key store, and what does not.
struct KeyStoreOpeningTests {
  @Test("The right passphrase opens a store; a wrong one, or a key file, is told apart from damage")
  func passphrase() async throws {
    let store = try FileStore()
    let right = try store.folder.write(Array("correct horse\n".utf8), to: "right")
    let wrong = try store.folder.write(Array("correct horsf".utf8), to: "wrong")
    func open(_ path: String) async throws -> any KeyProvider {
      let values: [String: ConfigurationValue] = [
        "plugin": "file", "directory": .string(store.keys), "passphraseFile": .string(path),
      ]
      return try await [FilePlugin.plugin].openKeyProvider(KeyCustodyConfiguration(values).root, RuntimeEnvironment())
    }
    let first = try await open(right)
    let key = try await first.generate(try store.request(), context: store.context)
    await first.close()

    let error = await #expect(throws: KeyCustodyError.of(.credentialRejected, .wrongSecret)) { try await open(wrong) }
    #expect(error?.retryClass == .afterOperator)
    #expect(error?.description.contains("correct") == false)
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) { try await store.openKeys() }

    // The line break at the end of a passphrase file does not count.
    let bare = try store.folder.write(Array("correct horse".utf8), to: "bare")
    let again = try await open(bare)
    #expect(try await again.describe(key.version, context: store.context) == key)
    await again.close()
  }

  @Test("Another key file does not open a store, and a short one opens none")
  func keyFiles() async throws {
    let store = try FileStore()
    await (try await store.openKeys()).close()
    let other = try store.folder.write(try SystemRandom().bytes(32), to: "other")
    let short = try store.folder.write(try SystemRandom().bytes(31), to: "short")
    await #expect(throws: KeyCustodyError.of(.credentialRejected, .wrongSecret)) {
      try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(other)])
    }
    await #expect(throws: KeyCustodyError.of(.invalidInput, .wrongSize)) {
      try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(short)])
    }
    let none = store.folder.appending("none")
    let missing = await #expect(throws: KeyCustodyError.of(.notFound, .init("key-file-missing"))) {
      try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(none)])
    }
    #expect(missing?.message.contains("keyFile' names a file that is not there") == true)
    #expect(missing?.remedy.contains("head -c 32 /dev/urandom > '\(none)'") == true)
  }

  @Test("A key file may end in a line break that belongs to it")
  func keyFileWithLineBreak() async throws {
    let store = try FileStore()
    let bytes = try SystemRandom().bytes(31)
    let path = try store.folder.write(bytes + [0x0a], to: "line")
    await (try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(path)])).close()
    await (try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(path)])).close()
    try store.folder.write(bytes + [0x0b], to: "line")
    await #expect(throws: KeyCustodyError.of(.credentialRejected, .wrongSecret)) {
      try await store.openKeys(RuntimeEnvironment(), ["keyFile": .string(path)])
    }
  }

  @Test("Exactly one secret must be configured")
  func oneSecret() async throws {
    let store = try FileStore()
    for more: [String: ConfigurationValue] in [
      ["passphraseFile": "x"], ["passphraseEnvironment": "X"],
    ] {
      await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
        try await store.openKeys(RuntimeEnvironment(), more)
      }
    }
    let section = KeyCustodyConfiguration(["plugin": "file", "directory": .string(store.keys)]).root
    await #expect(throws: KeyCustodyError.of(.invalidInput, .missingConfigurationKey)) {
      try await [FilePlugin.plugin].openKeyProvider(section, RuntimeEnvironment())
    }
  }

  @Test("Folders have mode 700 and files 600, and what others may read or change is refused with the cure")
  func permissions() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let key = try await provider.generate(try store.request(), context: store.context)
    let file = "\(store.keys)/keys/\(key.version).key"
    let system = POSIXFileSystem()
    for (path, mode) in [
      (store.keys, 0o700), (store.keys + "/keys", 0o700), (store.keys + "/store.json", 0o600),
      (store.keys + "/lock", 0o600), (file, 0o600),
    ] { #expect(try system.status(path, followingLink: false)?.permissions == UInt32(mode)) }

    let refused = KeyCustodyError.of(.denied, .init("unsafe-permissions"))
    for (path, bad) in [(file, 0o640), (file, 0o602)] {
      unsafe chmod(path, mode_t(bad))
      let other = try await store.openKeys()
      let error = await #expect(throws: refused) { try await other.describe(key.version, context: store.context) }
      #expect(error?.remedy.contains("chmod go= '\(path)'") == true)
      await other.close()
      unsafe chmod(path, 0o600)
    }
    await provider.close()
    for (path, good, bad) in [
      (store.keys, 0o700, 0o750), (store.keys, 0o700, 0o701), (store.keys + "/keys", 0o700, 0o770),
      (store.keys + "/store.json", 0o600, 0o644), (store.keyFile, 0o600, 0o604),
    ] {
      unsafe chmod(path, mode_t(bad))
      let error = await #expect(throws: refused) { try await store.openKeys() }
      #expect(error?.remedy.contains("chmod go= '\(path)'") == true)
      unsafe chmod(path, mode_t(good))
    }
    await (try await store.openKeys()).close()
  }

  @Test("A missing folder, a file, a folder with something else, and a missing parent are different errors")
  func wrongFolders() async throws {
    let store = try FileStore()
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
      try await store.openKeys(RuntimeEnvironment(), ["create": false])
    }
    #expect(try POSIXFileSystem().status(store.keys, followingLink: false) == nil)

    let file = try store.folder.write([], to: "file")
    let asFile = await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.openKeys(RuntimeEnvironment(), ["directory": .string(file)])
    }
    #expect(asFile?.message.contains("is a file") == true)
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.openKeys(RuntimeEnvironment(), ["directory": .string(file + "/below")])
    }
    // The test's own folder holds a key file.
    let full = await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.openKeys(RuntimeEnvironment(), ["directory": .string(store.folder.path)])
    }
    #expect(full?.message.contains("something else") == true)
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
      try await store.openKeys(RuntimeEnvironment(), ["directory": .string(store.folder.appending("no/where"))])
    }
  }

  @Test("A key store and a policy store do not open each other's folders")
  func wrongKind() async throws {
    let store = try FileStore()
    await (try await store.openKeys()).close()
    await (try await store.openRecords()).close()
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.openKeys(RuntimeEnvironment(), ["directory": .string(store.records)])
    }
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.openRecords(RuntimeEnvironment(), ["directory": .string(store.keys)])
    }
  }

  @Test("Two openings of one folder see each other's keys, and of two that make the same key one wins")
  func twoOpenings() async throws {
    let store = try FileStore()
    let (first, second) = (try await store.openKeys(), try await store.openKeys())
    #expect(first.identity == second.identity)
    let asked = try store.request()
    let outcomes = await withTaskGroup(of: KeyDescription?.self) { group in
      for index in 0..<64 {
        let provider = index.isMultiple(of: 2) ? first : second
        group.addTask { try? await provider.generate(asked, context: CallContext(purpose: .probe)) }
      }
      return await group.reduce(into: [KeyDescription]()) { made, one in if let one { made.append(one) } }
    }
    #expect(outcomes.count == 1)
    #expect(try await first.describe(asked.version, context: store.context) == outcomes.first)
    #expect(try await second.describe(asked.version, context: store.context) == outcomes.first)
    try await first.destroy(asked.version, context: store.context)
    await #expect(throws: KeyCustodyError.of(.notFound, .keyVersionUnknown)) {
      try await second.describe(asked.version, context: store.context)
    }
    await first.close()
    await second.close()
  }

  @Test("No key material stands in any file of the store")
  func nothingInClear() async throws {
    let store = try FileStore()
    let provider = try await store.openKeys()
    let material = try SystemRandom().secret(32)
    let key = try await provider.importKey(material, as: try store.request(), context: store.context)
    let bytes = material.withBytes { bytes in
      (0..<32).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }
    for name in ["keys/store.json", "keys/keys/\(key.version).key"] {
      let content = try store.folder.read(name)
      let places = content.indices.dropLast(8).filter { content[$0...].prefix(8).elementsEqual(bytes.prefix(8)) }
      #expect(places.isEmpty)
    }
    await provider.close()
  }

  @Test("A backup comes back in its own store only")
  func backups() async throws {
    let (store, other) = (try FileStore(), try FileStore())
    let (provider, foreign) = (try await store.openKeys(), try await other.openKeys())
    let key = try await provider.generate(try store.request(backupable: true), context: store.context)
    let blob = try await #require(provider.backup).backUp(key.version, context: store.context)
    try await provider.destroy(key.version, context: store.context)
    await provider.close()
    await #expect(throws: KeyCustodyError.of(.integrityFailure, .notAuthentic)) {
      try await #require(foreign.backup).restore(blob, context: store.context)
    }
    await foreign.close()
    let again = try await store.openKeys()
    #expect(try await #require(again.backup).restore(blob, context: store.context) == key)
    #expect(try await again.describe(key.version, context: store.context) == key)
    await again.close()
  }
}
