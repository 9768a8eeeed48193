import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices

let memory: ConfigurationValue = ["plugin": "memory"]
let configuration = KeyCustodyConfiguration([
  "keyProviders": ["keys": memory], "policyStores": ["records": memory],
  "service": ["keyProvider": "keys", "policyStore": "records"],
])
let custody = try await KeyCustody.open(configuration, plugins: [MemoryPlugin().plugin])
let notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: TenantID("contoso"))

let sealed = try await notes.seal(Array("hello".utf8), as: "note-1")
let opened = try await notes.open(sealed, as: "note-1")
print("\(sealed.count) sealed bytes hold: \(String(decoding: opened, as: UTF8.self))")

let misplaced = try? await notes.open(sealed, as: "note-2")
precondition(opened == Array("hello".utf8) && misplaced == nil, "sealed data opens under its own name alone")
print("health: \(try await notes.status().health)")
await custody.close()
