import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Reading and listing, a page at a time.
struct KeyListingTests {
  private func names(_ page: Page<KeyBundle>) -> [String] { page.items.map(\.uri.name.spelling) }

  @Test("V1: pages hold 25 at most, and whatever is there throughout is listed once while others come and go")
  func pages() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    for number in 10..<70 { try await bench.create("key-\(number)") }
    var (seen, token, pages): ([String], String?, Int) = ([], nil, 0)
    repeat {
      let page = try await vaults.listKeys(in: bench.vault, after: token, as: owner, context: context)
      #expect(page.items.count <= 25)
      #expect(page.next?.utf8.allSatisfy { $0 != 0x2b && $0 != 0x2f && $0 != 0x3d } ?? true, "fit for an address")
      seen += names(page)
      token = page.next
      pages += 1
      // Before, after and at the place where the page ended.
      try await bench.create("key-00\(pages)")
      try await bench.create("key-99\(pages)")
      if let last = page.items.last, pages == 1 {
        try await vaults.deleteKey(last.uri, as: owner, context: context)
        try await vaults.purgeKey(last.uri, as: owner, context: context)
      }
    } while token != nil
    #expect(seen.filter { !$0.hasPrefix("key-00") && !$0.hasPrefix("key-99") } == (10..<70).map { "key-\($0)" })
    #expect(Set(seen).count == seen.count && pages >= 3)
    let small = try await vaults.listKeys(in: bench.vault, limit: 1, as: owner, context: context)
    #expect(small.items.count == 1 && small.next != nil)
    for limit in [0, 26, -1] {
      await #expect(throws: error(.invalidInput, .wrongSize)) {
        _ = try await vaults.listKeys(in: bench.vault, limit: limit, as: owner, context: context)
      }
    }
    let foreign = try #require(small.next)
    for token in ["", "x", foreign + "A", "AAAA"] {
      await #expect(throws: error(.invalidInput, .malformed)) {
        _ = try await vaults.listVersions(of: bench.uri("key-10"), after: token, as: owner, context: context)
      }
    }
    await #expect(throws: error(.invalidInput, .malformed), "another list's token") {
      _ = try await vaults.listVersions(of: bench.uri("key-10"), after: foreign, as: owner, context: context)
    }
  }

  @Test("V1: every vault is listed once, whatever lies in it and however alike the names are")
  func vaults() async throws {
    let bench = try await VaultBench()
    let names = ["a", "kv", "kv1", "kv1-", "kv1-1", "kv10", "Z-9", "zz"]
    for name in names where name != "kv1" {
      try await bench.vaults.create(
        VaultDefinition(
          name: VaultName(name), tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys"))
    }
    for number in 0..<30 { try await bench.create("key-\(number)") }
    let secret = bench.vaults.secretURI(bench.vault, try SecretName("zzz"))
    try await bench.vaults.setSecret(bench.secret(), at: secret, as: bench.owner, context: bench.context)
    let found = try await bench.vaults.definitions().map(\.name.spelling)
    #expect(found.sorted() == names.sorted() && found.count == names.count)
  }

  @Test("V1: exactly 25 are one page, and an empty vault an empty one")
  func edges() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let empty = try await vaults.listKeys(in: bench.vault, as: owner, context: context)
    #expect(empty.items.isEmpty && empty.next == nil)
    for number in 10..<35 { try await bench.create("key-\(number)") }
    let full = try await vaults.listKeys(in: bench.vault, as: owner, context: context)
    #expect(full.items.count == 25 && full.next == nil)
  }

  @Test("V1: versions are listed once each while new ones come; a name nobody knows has none")
  func versions() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    var made = [try await bench.create()]
    for _ in 0..<30 { made.append(try await vaults.rotateKey(made[0], as: owner, context: context).uri) }
    var (seen, token): ([KeyURI], String?) = ([], nil)
    repeat {
      let page = try await vaults.listVersions(
        of: bench.uri("KEY"), after: token, limit: 7, as: owner, context: context)
      seen += page.items.map(\.uri)
      token = page.next
      _ = try await vaults.rotateKey(made[0], as: owner, context: context)
    } while token != nil
    #expect(Set(seen).isSuperset(of: made) && Set(seen).count == seen.count)
    let unknown = try await vaults.listVersions(of: bench.uri("nobody"), as: owner, context: context)
    #expect(unknown.items.isEmpty && unknown.next == nil)
    try await vaults.deleteKey(made[0], as: owner, context: context)
    #expect(try await vaults.listVersions(of: bench.uri("key"), as: owner, context: context).items.isEmpty)
  }

  @Test("V2: deleted keys stand in their own list, and are found by no other way")
  func deleted() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await bench.create("First")
    try await bench.create("second")
    await #expect(throws: error(.notFound, .keyUnknown)) {
      _ = try await vaults.deletedKey(first, as: owner, context: context)
    }
    let deleted = try await vaults.deleteKey(bench.uri("FIRST"), as: owner, context: context)
    #expect(deleted.key.uri == first && deleted.key.uri.description == first.description)
    #expect(try await vaults.deletedKey(bench.uri("first"), as: owner, context: context) == deleted)
    let listed = try await vaults.listDeletedKeys(in: bench.vault, as: owner, context: context)
    #expect(listed.items == [deleted] && listed.next == nil)
    #expect(names(try await vaults.listKeys(in: bench.vault, as: owner, context: context)) == ["second"])
    let back = try await vaults.recoverKey(first, as: owner, context: context)
    #expect(back.uri == first)
    #expect(try await vaults.listDeletedKeys(in: bench.vault, as: owner, context: context).items.isEmpty)
    #expect(names(try await vaults.listKeys(in: bench.vault, as: owner, context: context)) == ["First", "second"])
  }

  @Test("V1: a name is found in any case, and spelled as it was first given")
  func spelling() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create("Pay-Roll")
    for name in ["pay-roll", "PAY-ROLL", "Pay-Roll"] {
      let found = try await bench.vaults.keyVersion(bench.uri(name), as: bench.owner, context: bench.context)
      #expect(found.uri.description == made.description)
      #expect(try await bench.wrap(bench.uri(name)).key.description == made.description)
    }
    let rotated = try await bench.vaults.rotateKey(bench.uri("PAY-roll"), as: bench.owner, context: bench.context)
    #expect(rotated.uri.name.spelling == "Pay-Roll")
    #expect(await failure { try await bench.create("PAY-ROLL") } == error(.invalidInput, .alreadyExists))
    try await bench.vaults.updateKey(made, isEnabled: false, as: bench.owner, context: bench.context)
    let disabled = try await bench.vaults.keyVersion(made, as: bench.owner, context: bench.context)
    #expect(!disabled.attributes.isEnabled, "a disabled key can be read")
  }
}
