import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Administration is on record as the use of keys is (SEMANTICS V11).
struct AdministrationAuditTests {
  /// Every act that changes something, of vaults and of identities.
  enum Act: String, CaseIterable, Sendable {
    case createVault, protectVault, deleteVault, setNetwork, setRule, removeRule
    case createIdentity, createManaged, disable, enable, delete, secret, apiKey, federate, unfederate

    /// The record's action, target and detail.
    var record: (action: String, target: String, detail: String?) {
      switch self {
      case .createVault: ("vaults/create", "https://kv2.vault.test", "tenant contoso, keys in keys, 90 days")
      case .protectVault: ("vaults/protect", "https://kv1.vault.test", nil)
      case .deleteVault: ("vaults/delete", "https://kv1.vault.test", nil)
      case .setNetwork:
        ("vaults/setNetwork", "https://kv1.vault.test", "only 192.0.2.0/24 2001:db8::/32, trusted services bypass")
      case .setRule:
        (
          "policies/set", "https://kv1.vault.test/policies/contoso/ann",
          "allow contoso/ann keys get+wrapKey, secrets all but purge"
        )
      case .removeRule:
        (
          "policies/delete", "https://kv1.vault.test/policies/contoso/owner",
          "allow contoso/owner keys all, secrets all"
        )
      case .createIdentity: ("identities/create", "contoso/ann", "servicePrincipal")
      case .createManaged: ("identities/create", "contoso/notes", "managedIdentity of notes")
      case .disable: ("identities/disable", "contoso/bob", nil)
      case .enable: ("identities/enable", "contoso/bob", nil)
      case .delete: ("identities/delete", "contoso/bob", nil)
      case .secret: ("identities/issueSecret", "contoso/bob", "client secret, until 4102444800")
      case .apiKey: ("identities/issueSecret", "contoso/bob", "API key second")
      case .federate:
        ("identities/federate", "contoso/bob", "job of https://issuer.example for api://AzureADTokenExchange")
      case .unfederate:
        ("identities/unfederate", "contoso/bob", "job of https://issuer.example for api://AzureADTokenExchange")
      }
    }
  }

  /// A vault and a directory that write to one log.
  private struct Bench {
    let vault: VaultBench
    let directory: DirectoryIdentityProvider
    let store: MemoryPolicyStore
    let bob: PrincipalID

    init() async throws {
      vault = try await VaultBench()
      store = try MemoryPolicyStore()
      directory = try await DirectoryIdentityProvider(
        store: store, signer: vault.keys, issuer: "https://login.vault.test",
        environment: RuntimeEnvironment(time: vault.clock), audit: vault.audit)
      bob = try PrincipalID("contoso/bob")
      try await directory.create(bob, kind: .servicePrincipal)
      vault.audit.removeAll()
    }

    /// - Returns: a secret that was made.
    @discardableResult
    func run(_ act: Act, by administrator: Administrator = .host) async throws -> String? {
      let (vaults, name) = (vault.vaults, vault.vault)
      let directory = directory.administered(by: administrator)
      let credential = FederatedCredential(issuer: FederatedIssuer("https://issuer.example"), subject: "job")
      switch act {
      case .createVault:
        try await vaults.create(
          VaultDefinition(
            name: VaultName("kv2"), tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys"),
          by: administrator)
      case .protectVault: try await vaults.enablePurgeProtection(name, by: administrator)
      case .deleteVault: try await vaults.delete(name, by: administrator)
      case .setNetwork:
        let ranges = [try AddressRange("192.0.2.0/24"), try AddressRange("2001:db8::/32")]
        try await vaults.setNetworkRules(.only(ranges), in: name, by: administrator)
      case .setRule:
        let rule = AccessRule(
          name: "ann", principal: try PrincipalID("contoso/ann"), keys: [.wrapKey, .get],
          secrets: Set(SecretPermission.allCases).subtracting([.purge]))
        try await vaults.setRule(rule, in: name, by: administrator)
      case .removeRule: try await vaults.removeRule("allow-contoso-owner", in: name, by: administrator)
      case .createIdentity: try await directory.create(PrincipalID("contoso/ann"), kind: .servicePrincipal)
      case .createManaged:
        _ = try await directory.createManagedIdentity(for: ResourceID("notes"), tenant: TenantID("contoso"))
      case .disable: try await directory.setEnabled(false, bob)
      case .enable: try await directory.setEnabled(true, bob)
      case .delete: try await directory.delete(bob)
      case .secret:
        return try await directory.issueClientSecret(for: bob, expires: Timestamp(seconds: 4_102_444_800))
      case .apiKey: return try await directory.regenerateAPIKey(.second, for: bob)
      case .federate: try await directory.addFederatedCredential(credential, to: bob)
      case .unfederate: try await directory.removeFederatedCredential(credential, from: bob)
      }
      return nil
    }

    /// All that is stored, but for what is drawn anew each time.
    func stored() async throws -> [String] {
      var found: [String] = []
      for store in [vault.records, store] as [any PolicyStore] {
        found += try await store.list(prefix: "", after: nil, limit: 1000).map { "\($0.key) \($0.revision)" }
      }
      return found
    }
  }

  @Test("V11: every act of administration is recorded before and after, with who, what, where", arguments: Act.allCases)
  func recorded(_ act: Act) async throws {
    let bench = try await Bench()
    let secret = try await bench.run(act)
    let events = bench.vault.audit.events
    #expect(events.map(\.outcome) == [.intended, .allowed])
    for event in events {
      #expect(event.principal == "operator/local" && event.method == "host" && event.rule == "operator")
      #expect(event.action == act.record.action && event.target == act.record.target)
      #expect(event.detail == act.record.detail && event.error == nil && event.source == nil)
      #expect(event.time == bench.vault.clock.now())
    }
    guard let secret else { return }
    let text = String(decoding: try JSONEncoder().encode(events), as: UTF8.self)
    #expect(!text.contains(secret.suffix(20)), "no secret stands in a record")
  }

  @Test("V11: the record names the administrator for whom it was done, and from where", arguments: Act.allCases)
  func onBehalf(_ act: Act) async throws {
    let bench = try await Bench()
    let context = CallContext(purpose: .vault, requestID: "request-9", clientAddress: "192.0.2.7")
    try await bench.run(act, by: Administrator(bench.vault.owner, context: context))
    #expect(!bench.vault.audit.events.isEmpty)
    for event in bench.vault.audit.events {
      #expect(event.principal == "contoso/owner" && event.method == "token" && event.rule == "administrator")
      #expect(event.requestID == "request-9" && event.source == "192.0.2.7")
    }
  }

  @Test("V11: what can't be recorded does not happen", arguments: Act.allCases)
  func unwritable(_ act: Act) async throws {
    let bench = try await Bench()
    let full = KeyCustodyError(.unavailable, .unreachable, "The audit log is full.")
    let before = try await bench.stored()
    bench.vault.audit.fail(with: full)
    await #expect(throws: full) { try await bench.run(act) }
    bench.vault.audit.fail(with: nil)
    #expect(try await bench.stored() == before)
    try await bench.run(act)
  }

  @Test("V11: an act that fails is recorded with its error")
  func failed() async throws {
    let bench = try await Bench()
    let nobody = try VaultName("none")
    await #expect(throws: KeyCustodyError.self) { try await bench.vault.vaults.enablePurgeProtection(nobody) }
    #expect(bench.vault.audit.events.map(\.outcome) == [.intended, .failed])
    #expect(bench.vault.audit.events.last?.error == "notFound/vault-unknown")
    bench.vault.audit.removeAll()
    await #expect(throws: KeyCustodyError.self) { try await bench.directory.create(bench.bob, kind: .user) }
    #expect(bench.vault.audit.events.last?.error == "invalidInput/already-exists")
  }

  @Test("V11: who asked about whose rights is recorded, and changes nothing")
  func explained() async throws {
    let bench = try await Bench()
    let ann = try VaultBench.principal("contoso/ann", at: bench.vault.clock)
    let found = try await bench.vault.vaults.explain(.key(.wrapKey), in: bench.vault.vault, for: ann)
    #expect(!found.decision.isAllowed)
    let event = try #require(bench.vault.audit.events.last)
    #expect(bench.vault.audit.events.count == 1 && event.outcome == .allowed && event.action == "explain")
    #expect(event.target == "https://kv1.vault.test" && event.detail == "wrapKey of contoso/ann")
    bench.vault.audit.fail(with: KeyCustodyError(.unavailable, .unreachable, "The audit log is full."))
    await #expect(throws: KeyCustodyError.self) {
      _ = try await bench.vault.vaults.explain(.key(.wrapKey), in: bench.vault.vault, for: ann)
    }
  }

  @Test("V11: what the retention purges is recorded as the vault's own act, before and after")
  func retention() async throws {
    let bench = try await VaultBench(days: 7)
    let made = try await bench.create()
    try await bench.vaults.deleteKey(made.with(version: nil), as: bench.owner, context: bench.context)
    _ = try await bench.vaults.purgeExpired()
    for _ in 0..<8 {
      bench.clock.advance(by: VaultBench.day)
      bench.audit.removeAll()
      guard try await bench.vaults.purgeExpired().purged.isEmpty else { break }
    }
    let purges = bench.audit.events.filter { $0.action == "purge" }
    #expect(purges.map(\.outcome) == [.intended, .allowed])
    #expect(purges.allSatisfy { $0.principal == "vault" && $0.method == "retention" })
  }

  @Test("An issuer over http is trusted on this machine alone")
  func issuers() async throws {
    let bench = try await Bench()
    func trust(_ issuer: String) async throws {
      try await bench.directory.addFederatedCredential(
        FederatedCredential(issuer: FederatedIssuer(issuer), subject: "job"), to: bench.bob)
    }
    for issuer in [
      "https://issuer.example", "http://127.0.0.1:8080/x", "http://127.0.0.1", "http://[::1]:80/", "http://127.9.9.9/",
    ] { try await trust(issuer) }
    for issuer in [
      "http://issuer.example", "http://localhost", "http://127.0.0.1.example", "http://127.0.0.1@issuer.example",
      "http://127.0.0.1:80@issuer.example", "ftp://127.0.0.1", "HTTP://issuer.example", "http://127.1", "http://",
      "http://0127.0.0.1", "file:///etc/passwd",
    ] {
      let found = await failure { try await trust(issuer) }
      #expect(found?.code == .invalidInput && !(found?.remedy.isEmpty ?? true), "\(issuer)")
    }
  }

  @Test("V11: a vault's customers read how it was administered, and nothing of another vault")
  func readable() async throws {
    let vault = try await VaultBench()
    var bench = try await AuditBench(time: vault.clock)
    bench.settings.fileSize = 4 << 10
    let log = try await bench.open()
    let vaults = Vaults(
      store: vault.records, providers: ["keys": vault.keys], domain: "vault.test", audit: log,
      environment: RuntimeEnvironment(time: vault.clock))
    // One whose name begins as the other's does.
    let other = try VaultName("kv12")
    try await vaults.create(
      VaultDefinition(name: other, tenant: TenantID("fabrikam"), region: Region("north"), keyProvider: "keys"))
    for number in 0..<30 {
      let rule = AccessRule(name: "ann", principal: try PrincipalID("contoso/ann-\(number)"), keys: [.get])
      try await vaults.setRule(rule, in: number.isMultiple(of: 2) ? vault.vault : other)
    }
    var request = AuditPageRequest(limit: 7)
    var found: [AuditRecord] = []
    repeat {
      let page = try await vaults.administrationRecords(
        of: vault.vault, request, as: vault.owner, context: vault.context)
      found += page.records
      request.after = page.next
    } while request.after != nil
    #expect(found.count == 30, "15 rules, each before and after")
    #expect(found.allSatisfy { $0.event.target.hasPrefix("https://kv1.vault.test/policies/contoso/ann-") })
    let stranger = try VaultBench.principal("fabrikam/owner", at: vault.clock)
    for (name, caller) in [(vault.vault, stranger), (other, vault.owner), (other, stranger)] {
      let refused = await failure {
        _ = try await vaults.administrationRecords(of: name, as: caller, context: vault.context)
      }
      #expect(refused?.code == .denied)
    }
    await log.close()
  }
}
