// The customer's side: a key of its own in a vault of its own, put over a service's data, withdrawn, granted again.
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyVault

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

func require(_ condition: Bool, _ message: String) throws {
  guard condition else { throw Unexpected(description: message) }
}

let memory: ConfigurationValue = ["plugin": "memory"]
let custody = try await KeyCustody.open(
  KeyCustodyConfiguration([
    "keyProviders": ["keys": memory], "policyStores": ["records": memory],
    "service": ["keyProvider": "keys", "policyStore": "records"],
  ]), plugins: [MemoryPlugin().plugin])

// The service: a resource of the customer's, with data.
let tenant = try TenantID("contoso")
let notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: tenant)
let store = MemorySealedStore()
try store.put(try await notes.seal(Array("a secret note".utf8), as: "note-1"), as: "note-1", of: notes.id)

func note() async throws -> String {
  let sealed = store.get("note-1", of: notes.id) ?? []
  return String(decoding: try await notes.open(sealed, as: "note-1"), as: UTF8.self)
}

// The customer: a vault, whose owner makes keys in it but does not use them, and a key.
let owner = PrincipalID(tenant: tenant, subject: try SubjectID("owner"))
try await custody.identities.create(owner, kind: .user)
let token = try await custody.identities.issueToken(for: owner, audience: custody.audience, lifetime: .seconds(300))
let caller = try await custody.identities.authenticate(.token(token), audience: custody.audience)
let vault = try VaultName("contoso-keys")
try await custody.vaults.create(
  VaultDefinition(
    name: vault, tenant: tenant, region: custody.region, keyProvider: "keys", purgeProtection: true))
try await custody.vaults.setRule(
  AccessRule(name: "owner", principal: owner, keys: [.get, .list, .create, .update, .rotate, .delete, .recover]),
  in: vault)
let key = try await custody.vaults.createKey(
  custody.vaults.uri(vault, KeyName("notes")), type: .rsa(bits: 2048), role: .wrapping, as: caller,
  context: CallContext(purpose: .administration, principal: owner)
).uri
print("the customer made \(key)")

// The service asks for the key; the customer grants its use to the resource's identity.
let identity = try await notes.switchIdentityOn()
let grant = AccessRule(name: "service", principal: identity, keys: [.get, .wrapKey, .unwrapKey])
try await custody.vaults.setRule(grant, in: vault)
try await notes.enableCustomerKey(key, converting: [store])
try require(try await notes.status().mode == .customerManaged, "The resource is not under the customer's key.")
try require(try await note() == "a secret note", "The note changed.")
print("enabled: \(try await notes.status().health)")

try await custody.vaults.removeRule("service", in: vault)
do {
  _ = try await note()
  throw Unexpected(description: "The note opened after the customer withdrew its key.")
} catch let error as KeyCustodyError {
  try require(error.code == .denied, "Refused with \(error).")
  print("revoked: \(error.description)")
}
try require(
  try await notes.status().health == .suspended(reason: "access-denied"), "The state does not say why.")

try await custody.vaults.setRule(grant, in: vault)
try require(try await note() == "a secret note", "The note changed.")
print("restored: \(try await notes.status().health)")

// Back to service-managed keys: afterwards the customer's key is of no use, and withdrawing it has no effect.
try await notes.disableCustomerKey(converting: [store])
try await custody.vaults.removeRule("service", in: vault)
try require(try await note() == "a secret note", "The note changed.")
print("disabled: \(try await notes.status().mode.rawValue)")
await custody.close()
