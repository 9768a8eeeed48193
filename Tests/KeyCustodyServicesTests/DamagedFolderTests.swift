import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyVault
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a folder of sealed data may hold after a mishap, or by an attacker's hand.
struct DamagedFolderTests {
  private let folder: TemporaryFolder
  private let store: FolderSealedStore
  private let custody: KeyCustody
  private let notes: ProtectedResource

  init() async throws {
    folder = try TemporaryFolder()
    store = try FolderSealedStore(folder: folder.path)
    custody = try await KeyCustody.open(
      KeyCustodyConfiguration([
        "keyProviders": ["keys": ["plugin": "memory"]], "policyStores": ["records": ["plugin": "memory"]],
        "service": ["keyProvider": "keys", "policyStore": "records"],
      ]), plugins: [MemoryPlugin().plugin])
    notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    for name in ["a", "b"] { try await store.put(Array(name.utf8), as: name, in: notes) }
  }

  private func listing() async -> KeyCustodyError? {
    do throws(KeyCustodyError) { _ = try await store.items(of: notes.id, after: nil, limit: 10) } catch {
      return error
    }
    return nil
  }

  @Test("E6: a label that names another object is refused, and does not turn a conversion into an endless one")
  func exchangedLabel() async throws {
    try folder.write(try folder.read("notes/b.sealed.json"), to: "notes/a.sealed.json")
    let error = try #require(await listing())
    #expect(error.code == .integrityFailure && error.message.contains("a.sealed.json"))
    await custody.close()
  }

  @Test(
    "E6: an altered label does not open its item, and the refusal names the label",
    arguments: ["transient", "nonsense"])
  func alteredClass(name: String) async throws {
    let plain = try folder.write([1], to: "plain")
    try await store.putFile(plain, as: "file", in: notes)
    for item in ["a", "file"] {
      let label = String(decoding: try folder.read("notes/\(item).sealed.json"), as: UTF8.self)
      let altered = label.replacing("long-term", with: name)
      try #require(altered != label)
      try folder.write(Array(altered.utf8), to: "notes/\(item).sealed.json")
    }
    let target = folder.appending("target")
    for item in ["a", "file"] {
      let error = await #expect(throws: KeyCustodyError.self) {
        if item == "a" {
          _ = try await store.get(item, in: notes)
        } else {
          try await store.getFile(item, in: notes, to: target)
        }
      }
      #expect(error?.code == .integrityFailure)
      #expect(error?.description.contains("\(item).sealed.json") == true && error?.remedy.contains("backup") == true)
    }
    await custody.close()
  }

  @Test("E6: a pipe among the sealed files is refused; nobody waits for its writer", .timeLimit(.minutes(1)))
  func pipe() async throws {
    try #require(unsafe unlink(folder.appending("notes/a.sealed")) == 0)
    try #require(unsafe mkfifo(folder.appending("notes/a.sealed"), 0o600) == 0)
    let error = try #require(await listing())
    #expect(error.code == .integrityFailure && error.message.contains("a.sealed"))
    await custody.close()
  }

  @Test("A file that is no sealed value, or too large for one, is named", arguments: [0, 5, 3 << 20])
  func foreignFile(size: Int) async throws {
    try folder.write([UInt8](repeating: 0x4b, count: size), to: "notes/a.sealed")
    let error = try #require(await listing())
    #expect(error.code == .integrityFailure && error.message.contains("a.sealed") && !error.remedy.isEmpty)
    await #expect(throws: KeyCustodyError.self) { try await store.get("a", in: notes) }
    #expect(try await store.get("b", in: notes) == Array("b".utf8))
    await custody.close()
  }

  @Test("I2: switching an identity on again goes on where a crash cut it off")
  func identityAfterCrash() async throws {
    let made = try await custody.identities.createManagedIdentity(for: notes.id, tenant: TenantID("contoso"))
    #expect(try await notes.switchIdentityOn() == made)
    #expect(try await notes.status().identity == made)
    await custody.close()
  }

  @Test("I2: a user of the resource's name is not taken for its identity")
  func strangerOfThatName() async throws {
    let user = try PrincipalID("contoso/notes")
    try await custody.identities.create(user, kind: .user)
    await #expect(throws: KeyCustodyError.self) { try await notes.switchIdentityOn() }
    await custody.close()
  }
}
