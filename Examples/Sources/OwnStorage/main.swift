// A service that keeps its sealed data in storage of its own, and puts a customer's key over it.
import Foundation
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

func require(_ condition: Bool, _ message: String) throws {
  guard condition else { throw Unexpected(description: message) }
}

let folder = FileManager.default.temporaryDirectory.appending(path: "own-storage-\(UUID().uuidString)").path
try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(atPath: folder) }

// The contract of a table, ready to run: in a test target each behaviour is a case of a parameterised test.
let subject = SealedTableSubject { _ in
  let path = "\(folder)/\(UUID().uuidString)"
  return .persistent { try NotesFile(path: path, create: true) }
}
for behavior in SealedTableConformance.all { try await behavior.run(subject) }
print("the storage keeps to all \(SealedTableConformance.all.count) rules of a table")

// The service: a resource of the customer's, and fifty notes, sealed under the service's own keys.
let memory: ConfigurationValue = ["plugin": "memory"]
let custody = try await KeyCustody.open(
  KeyCustodyConfiguration([
    "keyProviders": ["keys": memory], "policyStores": ["records": memory],
    "service": ["keyProvider": "keys", "policyStore": "records"],
  ]), plugins: [MemoryPlugin().plugin])
let tenant = try TenantID("contoso")
let notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: tenant)
var file = try NotesFile(path: "\(folder)/notes", create: true)
var store = TableSealedStore(file)
for number in 1...50 {
  try await store.put(Array("note \(number)".utf8), as: "note-\(number)", in: notes, identifiers: ["author": "ann"])
}

func rootKeys() async throws -> Set<String> {
  Set(try await store.items(of: notes.id, after: nil, limit: 100).map(\.header.rootKey.description))
}
let serviceKeys = try await rootKeys()
print("sealed 50 notes under \(serviceKeys.joined()), which a key of the service wraps")

// The customer: a vault, a key, and a grant for the resource's identity.
let owner = PrincipalID(tenant: tenant, subject: try SubjectID("owner"))
try await custody.identities.create(owner, kind: .user)
let token = try await custody.identities.issueToken(for: owner, audience: custody.audience, lifetime: .seconds(300))
let caller = try await custody.identities.authenticate(.token(token), audience: custody.audience)
let vault = try VaultName("contoso-keys")
try await custody.vaults.create(
  VaultDefinition(name: vault, tenant: tenant, region: custody.region, keyProvider: "keys", purgeProtection: true))
try await custody.vaults.setRule(AccessRule(name: "owner", principal: owner, keys: [.get, .create]), in: vault)
let key = try await custody.vaults.createKey(
  custody.vaults.uri(vault, KeyName("notes")), type: .rsa(bits: 2048), role: .wrapping, as: caller,
  context: CallContext(purpose: .administration, principal: owner)
).uri
let grant = AccessRule(
  name: "service", principal: try await notes.switchIdentityOn(), keys: [.get, .wrapKey, .unwrapKey])
try await custody.vaults.setRule(grant, in: vault)

// Over to the customer's key: new notes at once, the fifty by converting them; a note is written meanwhile.
try await notes.enableCustomerKey(key)
try await store.put(Array("written meanwhile".utf8), as: "note-7", in: notes)
let converted = try await notes.resumeConversion(of: [store])
let customerKeys = try await rootKeys()
try require(converted == 49, "\(converted) notes were converted; one was under the customer's key already.")
try require(customerKeys.count == 1 && customerKeys.isDisjoint(with: serviceKeys), "Notes are left under the old key.")
print("converted \(converted) notes to \(customerKeys.joined()), which the customer's key wraps")

// Another start of the service, on the same file.
await file.close()
file = try NotesFile(path: "\(folder)/notes", create: false)
store = TableSealedStore(file)
for number in 1...50 {
  let text = String(decoding: try await store.get("note-\(number)", in: notes), as: UTF8.self)
  try require(text == (number == 7 ? "written meanwhile" : "note \(number)"), "Note \(number) says '\(text)'.")
}
print("opened all 50 from the file")

try await custody.vaults.removeRule("service", in: vault)
do {
  _ = try await store.get("note-1", in: notes)
  throw Unexpected(description: "The note opened after the customer withdrew its key.")
} catch let error as KeyCustodyError {
  try require(error.code == .denied, "Refused with \(error).")
  print("revoked: \(error.description)")
}
await custody.close()
