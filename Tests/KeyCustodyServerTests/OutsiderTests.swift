import HTTPTypes
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

@Suite("Principals of outside issuers")
struct OutsiderTests {
  @Test("I6: nobody of an outside issuer comes out as a principal of the deployment's own, whatever name they chose")
  func names() async throws {
    let memory = MemoryPlugin()
    let environment = RuntimeEnvironment()
    let outside = try await DirectoryIdentityProvider(
      store: MemoryPolicyStore(), signer: MemoryKeyProvider(), issuer: "https://issuer.example",
      environment: environment, audit: RecordingAuditSink())
    let plugin = Plugin(name: "outside", identityProvider: { (_, _) throws(KeyCustodyError) in { outside } })
    let custody = try await KeyCustody.open(
      KeyCustodyConfiguration([
        "keyProviders": ["keys": ["plugin": "memory"]], "policyStores": ["state": ["plugin": "memory"]],
        "identityProviders": ["partners": ["plugin": "outside"]],
        "service": ["keyProvider": "keys", "policyStore": "state", "region": "north", "tenant": "partners"],
        "vaults": ["domain": "vault.test"],
      ]), plugins: [memory.plugin, plugin], audit: RecordingAuditSink(), environment: environment)
    let vault = try VaultName("kv1")
    let tenant = try TenantID("partners")
    try await custody.vaults.create(
      VaultDefinition(name: vault, tenant: tenant, region: Region("north"), keyProvider: "keys"))
    try await custody.vaults.setRule(custody.administratorRule(of: tenant), in: vault)
    try await custody.identities.create(PrincipalID("partners/bob"), kind: .user)
    let server = try VaultServer(custody, settings: ServerSettings(tenant: tenant))
    let service = custody.servicePrincipal.subject.spelling
    for (name, status) in [("ann", 200), ("administrator", 401), ("Administrator", 401), ("bob", 401), (service, 401)] {
      let id = PrincipalID(tenant: tenant, subject: try SubjectID(name))
      if try await outside.lookup(id) == nil { try await outside.create(id, kind: .user) }
      // By its own name each may list keys.
      try await custody.vaults.setRule(
        AccessRule(name: name, principal: id, keys: [.list]), in: vault)
      let token = try await outside.issueToken(for: id, audience: custody.audience, lifetime: .seconds(600))
      var fields = HTTPFields()
      fields[.authorization] = "Bearer \(token)"
      let head = HTTPRequest(
        method: .get, scheme: "https", authority: "kv1.vault.test", path: "/keys?api-version=7.4",
        headerFields: fields)
      let answer = await server.respond(to: head, body: [], from: "192.0.2.1")
      #expect(Int(answer.status.code) == status, "\(name): \(String(decoding: answer.body, as: UTF8.self))")
    }
    await custody.close()
  }
}
