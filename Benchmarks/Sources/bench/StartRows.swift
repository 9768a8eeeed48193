import Foundation
import KeyCustody
import KeyCustodyMemory
import KeyCustodySQLite
import KeyCustodyServices

/// How soon the command answers, and how soon a server of many resources is ready.
func startRows() async throws {
  let programs = ServerProcess.programs
  var times: [Double] = []
  for _ in 0..<Options.current.rounds {
    times.append(try milliseconds { try run([programs.keycustody, "--version"]) })
  }
  limit("R14", "version", times, atMost: 50, unit: "ms")

  let folder = try TemporaryFolder()
  defer { folder.remove() }
  // The first start makes keys and a certificate.
  try Deployment(in: folder).server.stop()
  let count = Options.current.isQuick ? 10_000 : 100_000
  try await fill("\(folder.path)/state.sqlite", with: count)
  times = []
  var resident: [Double] = []
  for _ in 0..<Options.current.rounds {
    var server: ServerProcess?
    times.append(try milliseconds { server = try Deployment(in: folder).server })
    defer { server?.stop() }
    if let server { resident.append(try server.resident) }
  }
  limit("R14", "serve-\(count)-resources", times, atMost: 1000, unit: "ms")
  limit("R14", "serve-\(count)-resources-idle", resident, atMost: 60, unit: "MiB")
}

private func milliseconds(_ body: () throws -> Void) rethrows -> Double {
  let start = clock.now
  try body()
  return (clock.now - start) / .milliseconds(1)
}

/// Writes the records of so many resources, copies of one under other names.
private func fill(_ path: String, with count: Int) async throws {
  let (name, value) = try await record()
  let store = try await SQLitePolicyStore(path: path)
  try await withThrowingTaskGroup(of: Void.self) { group in
    for number in 0..<count {
      // What waits together is written together.
      if number >= 256 { try await group.next() }
      group.addTask {
        let copy = "\(name)-\(number)"
        let text = value.replacingOccurrences(of: "\"\(name)\"", with: "\"\(copy)\"")
        _ = try await store.compareAndSet(RecordKey("resources/\(copy)"), expecting: nil, value: Array(text.utf8))
      }
    }
    try await group.waitForAll()
  }
  await store.close()
}

/// A resource's record, as it is stored.
private func record() async throws -> (name: String, value: String) {
  let memory: ConfigurationValue = ["plugin": "memory"]
  let custody = try await KeyCustody.open(
    KeyCustodyConfiguration([
      "keyProviders": ["keys": memory], "policyStores": ["records": memory],
      "service": ["keyProvider": "keys", "policyStore": "records"],
    ]), plugins: [MemoryPlugin().plugin], audit: NoAudit())
  let name = "bench"
  _ = try await custody.createResource(ResourceID(name), tenant: TenantID("tenant"))
  let found = try await custody.policyStores["records"]?.read(RecordKey("resources/\(name)"))
  await custody.close()
  guard let found else { throw Unexpected(description: "The record of a resource can't be found.") }
  return (name, String(decoding: found.value, as: UTF8.self))
}
