// Prints one line for each row: `ROW NAME ratio=MEDIAN range=LOW..HIGH ours=TIME BASELINE=TIME`. A ratio is our time over
// the baseline's, both measured in turn in each round. `--quick` makes few short rounds: it shows that all runs, no more.
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices

/// Uses of keys are not what is measured here.
struct NoAudit: AuditSink {
  func record(_ event: AuditEvent) async throws(KeyCustodyError) {}
}

// Off the main actor, as a server's work is.
@concurrent func run() async throws {
  let memory: ConfigurationValue = ["plugin": "memory"]
  let custody = try await KeyCustody.open(
    KeyCustodyConfiguration([
      "keyProviders": ["keys": memory], "policyStores": ["records": memory],
      "service": ["keyProvider": "keys", "policyStore": "records", "leaseSeconds": 900],
    ]), plugins: [MemoryPlugin().plugin], audit: NoAudit())
  let resource = try await custody.createResource(ResourceID("bench"), tenant: TenantID("bench"))
  try await records(resource)
  try await objects(resource)
  await custody.close()
}

try await run()
