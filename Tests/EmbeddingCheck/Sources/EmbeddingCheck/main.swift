import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices

let memory: ConfigurationValue = ["plugin": "memory"]
let custody = try await KeyCustody.open(
  KeyCustodyConfiguration([
    "keyProviders": ["keys": memory], "policyStores": ["records": memory],
    "service": ["keyProvider": "keys", "policyStore": "records"],
  ]), plugins: [MemoryPlugin().plugin])
let resource = try await custody.createResource(ResourceID("check"), tenant: TenantID("contoso"))
let opened = try await resource.open(try await resource.seal([1, 2, 3], as: "value"), as: "value")
precondition(opened == [1, 2, 3], "What was sealed did not open.")
await custody.close()
print("sealed and opened")
