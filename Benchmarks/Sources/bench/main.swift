// Prints one line for each row:
//   ROW NAME ratio=MEDIAN goal=RATIO ok|short range=LOW..HIGH ours=FIGURE BASELINE=FIGURE (SENSE)
// or, where there is a limit and no baseline:
//   ROW NAME ours=MEDIAN goal=FIGURE ok|short range=LOW..HIGH (SENSE)
// Ours and the baseline are measured in turn in each round. `--quick` makes few short rounds: it shows that all runs,
// no more. `--rows R4,R9` runs those rows alone.
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices

/// Uses of keys are not what is measured here.
struct NoAudit: AuditSink {
  func record(_ event: AuditEvent) async throws(KeyCustodyError) {}
}

/// A resource in memory, and the rows that need one.
func resourceRows() async throws {
  let memory: ConfigurationValue = ["plugin": "memory"]
  let custody = try await KeyCustody.open(
    KeyCustodyConfiguration([
      "keyProviders": ["keys": memory], "policyStores": ["records": memory],
      "service": ["keyProvider": "keys", "policyStore": "records", "leaseSeconds": 900],
    ]), plugins: [MemoryPlugin().plugin], audit: NoAudit())
  let resource = try await custody.createResource(ResourceID("bench"), tenant: TenantID("bench"))
  if Options.current.includes(.records) { try await resourceRecords(resource) }
  if Options.current.includes(.objects) { try await streamedObjects(resource) }
  if Options.current.includes(.files) { try await files(resource) }
  if Options.current.includes(.reads) { try await randomReads(resource) }
  if Options.current.includes(.leases) { try await leases(resource) }
  await custody.close()
}

// Off the main actor, as a server's work is.
@concurrent func run() async throws {
  try await BaselineServer.serveIfAsked()
  try await ManyResources.holdIfAsked()
  let options = Options.current
  if let scale = options.scale { return try await scale.run() }
  if options.includes(.sealRecord, .openRecord, .twoLayers) { try await plainRecords() }
  if options.includes(.objects) { try await objects() }
  if options.includes(.records, .objects, .files, .reads, .leases) { try await resourceRows() }
  if options.includes(.renewals) { try await renewals() }
  if options.includes(.token) { try await tokenRows() }
  // Processes of their own, which take longer than a look at whether all runs.
  guard !options.isQuick || options.names != nil else { return }
  if options.includes(.server) { try await serverRows() }
  if options.includes(.rewraps) { try await rewrapRows() }
  if options.includes(.memory) { try await memoryRows() }
  if options.includes(.start) { try await startRows() }
}

do { try await run() } catch { quit(error, code: 1) }
