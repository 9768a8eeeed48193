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

/// The customer reads the log of their own keys (SEMANTICS V11), and no secret stands in it.
struct AuditHistoryTests {
  private struct Deployment {
    let vault: VaultBench
    let bench: AuditBench
    let log: AuditLog
    let vaults: Vaults

    init(fileSize: Int = 4 << 10) async throws {
      vault = try await VaultBench()
      var bench = try await AuditBench(time: vault.clock)
      bench.settings.fileSize = fileSize
      self.bench = bench
      log = try await bench.open()
      vaults = Vaults(
        store: vault.records, providers: ["keys": vault.keys], domain: "vault.test", audit: log,
        environment: RuntimeEnvironment(time: vault.clock))
    }

    func create(_ name: String, in vault: VaultName? = nil, as caller: Principal? = nil) async throws -> KeyURI {
      try await vaults.createKey(
        vaults.uri(vault ?? self.vault.vault, KeyName(name)), type: .aes(bits: 256), role: .wrapping,
        as: caller ?? self.vault.owner, context: self.vault.context
      ).uri
    }

    func pages(_ uri: KeyURI, limit: Int, since: Timestamp? = nil) async throws -> [AuditRecord] {
      var request = AuditPageRequest(since: since, limit: limit)
      var all: [AuditRecord] = []
      repeat {
        let page = try await log.events(ofKey: uri, request)
        #expect(page.records.count <= limit)
        all += page.records
        request.after = page.next
      } while request.after != nil
      return all
    }
  }

  @Test("V11: a customer reads what was done with their key, page by page, and nothing of other keys")
  func history() async throws {
    let deployment = try await Deployment()
    let (vaults, vault) = (deployment.vaults, deployment.vault)
    let made = try await deployment.create("key")
    let other = try await deployment.create("key-2")
    for number in 0..<20 {
      let uri = number.isMultiple(of: 2) ? made : other
      _ = try await vaults.wrap(
        vault.secret(), with: uri, algorithm: .aes256KW, as: vault.owner, context: vault.context)
    }
    let uri = try vault.uri("Key")
    for limit in [1, 3, 1000] {
      let records = try await deployment.pages(uri, limit: limit)
      #expect(records.count == 12 && records.allSatisfy { $0.event.isAbout(uri) })
      #expect(records.map(\.number) == records.map(\.number).sorted())
      #expect(records.prefix(2).map(\.event.outcome) == [.intended, .allowed])
    }
    #expect(try await deployment.pages(made, limit: 100).count == 11, "of one version, without the intent")
    vault.clock.advance(by: .seconds(60))
    _ = try await vaults.auditRecords(ofKey: uri, as: vault.owner, context: vault.context)
    let later = try await deployment.pages(uri, limit: 100, since: vault.clock.now())
    #expect(later.count == 1 && later.first?.event.action == "get", "reading is recorded too")
    await deployment.log.close()
  }

  @Test("V11: only who may get keys of the vault reads its records")
  func permission() async throws {
    let deployment = try await Deployment()
    let (vaults, vault) = (deployment.vaults, deployment.vault)
    let made = try await deployment.create("key")
    let stranger = try VaultBench.principal("contoso/stranger", at: vault.clock)
    let denied = error(.denied, .accessDenied)
    let read = { (caller: Principal) async throws -> AuditPage in
      try await vaults.auditRecords(ofKey: vault.uri("key"), as: caller, context: vault.context)
    }
    #expect(await failure { _ = try await read(stranger) } == denied)
    try await vault.grant(stranger.id, Set(KeyPermission.allCases).subtracting([.get]))
    #expect(await failure { _ = try await read(stranger) } == denied)
    try await vault.grant(stranger.id, [.get])
    let page = try await read(stranger)
    #expect(page.records.map(\.event.outcome) == [.intended, .allowed, .refused, .refused])
    #expect(page.records.map(\.event.principal).suffix(2) == ["contoso/stranger", "contoso/stranger"])
    // The same key name in somebody else's vault.
    let tailspin = try VaultBench.principal("tailspin/owner", at: vault.clock)
    let theirs = try VaultName("kv2")
    try await vaults.create(
      VaultDefinition(name: theirs, tenant: TenantID("tailspin"), region: Region("north"), keyProvider: "keys"))
    try await vaults.setRule(
      AccessRule(name: "owner", principal: tailspin.id, keys: Set(KeyPermission.allCases)), in: theirs)
    _ = try await deployment.create("key", in: theirs, as: tailspin)
    #expect(await failure { _ = try await read(tailspin) } == denied)
    let own = try await vaults.auditRecords(
      ofKey: vaults.uri(theirs, KeyName("key")), as: tailspin, context: vault.context)
    #expect(own.records.count == 2 && own.records.allSatisfy { $0.event.principal == "tailspin/owner" })
    let whole = try await deployment.pages(made.with(version: nil), limit: 100)
    #expect(whole.allSatisfy { (try? KeyURI($0.event.target).vault.folded) == "kv1" })
    await #expect(throws: error(.unsupported, .notOffered)) {
      _ = try await vault.vaults.auditRecords(ofKey: vault.uri("key"), as: vault.owner, context: vault.context)
    }
    await deployment.log.close()
  }

  @Test(
    "A page begins only where one ended", arguments: ["", "1", "1.5", "1.-1", "01.0", "9.9.9", "x.y", "1.99999999"])
  func places(_ text: String) async throws {
    let deployment = try await Deployment()
    let made = try await deployment.create("key")
    let outcome = await failure {
      let page = try await deployment.log.events(ofKey: made, AuditPageRequest(after: text))
      #expect(page.records.isEmpty && page.next == nil)
    }
    #expect(outcome == nil || outcome == error(.invalidInput, .malformed))
    #expect(outcome != nil || text == "1.99999999")
    await #expect(throws: error(.invalidInput, .wrongSize)) {
      _ = try await deployment.log.events(ofKey: made, AuditPageRequest(limit: 0))
    }
    await deployment.log.close()
  }

  @Test("V11: no file of the log holds a secret")
  func noSecrets() async throws {
    let deployment = try await Deployment()
    let (vaults, vault) = (deployment.vaults, deployment.vault)
    let made = try await deployment.create("key")
    let secret = vault.secret(0xa7)
    let wrapped = try await vaults.wrap(
      secret, with: made, algorithm: .aes256KW, as: vault.owner, context: vault.context)
    _ = try await vaults.importKey(
      vault.secret(0x93), to: vault.uri("brought"), type: .aes(bits: 256), role: .wrapping, as: vault.owner,
      context: vault.context)
    _ = await failure {
      _ = try await vaults.unwrap(
        [UInt8](repeating: 0xc5, count: 40), with: made, algorithm: .aes256KW, as: vault.owner, context: vault.context)
    }
    await deployment.log.close()
    let all = String(decoding: try deployment.bench.files().values.joined(), as: UTF8.self)
    #expect(all.contains("unwrapKey") && all.contains("import"))
    let secrets = [0xa7, 0x93, 0xc5].map { [UInt8](repeating: $0, count: 32) } + [wrapped.bytes]
    for bytes in secrets {
      for form in [bytes.hexadecimal, bytes.base64URL, Data(bytes).base64EncodedString()] {
        #expect(!all.lowercased().contains(form.prefix(20).lowercased()))
      }
    }
  }
}
