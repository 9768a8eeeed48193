// One binary, any backend: the configuration file that is its one argument says where keys and records live.
import KeyCustody
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyServices

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

guard CommandLine.arguments.count == 2 else {
  throw Unexpected(description: "usage: SwappingBackends CONFIGURATION.json")
}
let path = CommandLine.arguments[1]
let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
let variables = ProcessInfo.processInfo.environment

// Relative paths in the file start at its folder; variables called KEYCUSTODY_… override its keys.
let custody = try await KeyCustody.open(
  KeyCustodyConfiguration(json: [UInt8](Data(contentsOf: URL(filePath: path))), environment: variables),
  plugins: [MemoryPlugin().plugin, FilePlugin.plugin, PKCS11Plugin.plugin],
  environment: RuntimeEnvironment(baseDirectory: folder, variables: variables))

let id = try ResourceID("contoso-notes")
let isNew = try await !custody.resourceIDs().contains(id)
let notes =
  isNew ? try await custody.createResource(id, tenant: TenantID("contoso")) : try await custody.resource(id)
let sealed = try await notes.seal(Array("the same program".utf8), as: "note-1")
let opened = try await notes.open(sealed, as: "note-1")
guard opened == Array("the same program".utf8), try await notes.status().health == .available else {
  throw Unexpected(description: "What was sealed did not open.")
}
let keys = custody.keyProviders.values.map(\.identity.description).sorted().joined(separator: ", ")
let records = custody.policyStores.values.map(\.identity.description).sorted().joined(separator: ", ")
print("keys in \(keys), records in \(records)")
print("  \(isNew ? "made" : "found") the resource, sealed and opened a value of \(opened.count) bytes")
await custody.close()
