import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The house rules, as far as a program can hold them.
@Suite("House rules")
struct TidyTests {
  private struct SourceFile {
    var path: String
    var lines: [Substring]
  }

  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path(percentEncoded: false)

  private static func files(in folders: [String]) throws -> [SourceFile] {
    var found: [SourceFile] = []
    for folder in folders {
      let names = try FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)")
      for name in names where name.hasSuffix(".swift") && !name.contains(".build/") {
        let text = try String(contentsOf: URL(filePath: "\(root)/\(folder)/\(name)"), encoding: .utf8)
        found.append(
          SourceFile(path: "\(folder)/\(name)", lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
      }
    }
    return found
  }

  @Test("A file has at most 400 lines")
  func fileLength() throws {
    let files = try Self.files(in: ["Sources", "Plugins", "Tests"])
    #expect(files.count > 50, "the files are found at all")
    for file in files { #expect(file.lines.count <= 400, "\(file.path) has \(file.lines.count) lines") }
  }

  @Test("What may trap or escape a check has its reason beside it")
  func reasons() throws {
    let risky = ["try!", "fatalError(", "@unchecked Sendable", "nonisolated(unsafe)", "preconditionFailure("]
    for file in try Self.files(in: ["Sources", "Plugins"]) {
      for (index, line) in file.lines.enumerated() where risky.contains(where: line.contains) {
        let near = file.lines[max(0, index - 3)...min(index + 2, file.lines.count - 1)]
        #expect(near.contains { $0.contains("// ") }, "\(file.path):\(index + 1) needs a reason: \(line)")
      }
    }
  }

  @Test("Nothing is left unfinished")
  func unfinished() throws {
    let marks = ["TO" + "DO", "FIX" + "ME"]
    for file in try Self.files(in: ["Sources", "Plugins", "Tests"]) {
      for (index, line) in file.lines.enumerated() where marks.contains(where: line.contains) {
        Issue.record("\(file.path):\(index + 1): \(line)")
      }
    }
  }

  /// Which of our modules each module may import.
  ///
  /// The manifest says the same; this says it where a reader looks.
  private static let imports: [String: Set<String>] = [
    "Sources/KeyCustody/": [],
    "Sources/KeyCustodyCrypto/": ["KeyCustody", "CKeyCustodyOpenSSL"],
    "Sources/KeyCustodyEnvelope/": ["KeyCustody", "KeyCustodyCrypto"],
    "Sources/KeyCustodyVault/": ["KeyCustody", "KeyCustodyCrypto"],
    "Sources/KeyCustodyServices/": ["KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyVault"],
    "Sources/KeyCustodyTesting/": ["KeyCustody"],
    "Plugins/Memory/": ["KeyCustody", "KeyCustodyCrypto"],
    "Plugins/File/": ["KeyCustody", "KeyCustodyCrypto"],
    "Plugins/SQLite/": ["KeyCustody", "KeyCustodyCrypto"],
    "Plugins/PostgreSQL/": ["KeyCustody", "KeyCustodyCrypto", "CKeyCustodyPostgreSQL"],
    "Plugins/PKCS11/": ["KeyCustody", "KeyCustodyCrypto", "CKeyCustodyPKCS11"],
    "Plugins/OIDC/": ["KeyCustody", "KeyCustodyCrypto"],
    "Plugins/AzureKeyVault/": ["KeyCustody", "KeyCustodyCrypto"],
  ]

  @Test("The core imports nothing of ours, and no plugin imports another", arguments: imports.keys.sorted())
  func importMatrix(_ folder: String) throws {
    let allowed = try #require(Self.imports[folder])
    let files = try Self.files(in: [folder])
    #expect(!files.isEmpty)
    for file in files {
      for line in file.lines {
        let words = line.split(separator: " ")
        guard let index = words.firstIndex(of: "import"), index <= 1, index + 1 < words.count else { continue }
        let module = String(words[index + 1])
        guard module.hasPrefix("KeyCustody") || module.hasPrefix("CKeyCustody") else { continue }
        #expect(allowed.contains(module), "\(file.path) imports \(module)")
      }
    }
  }

  @Test("Only the command names plugins, and plugins read no environment of their own")
  func ambientInput() throws {
    for file in try Self.files(in: [
      "Plugins", "Sources/KeyCustody", "Sources/KeyCustodyServices", "Sources/KeyCustodyVault",
    ]) {
      for (index, line) in file.lines.enumerated() {
        #expect(!line.contains("getenv(") && !line.contains("ProcessInfo"), "\(file.path):\(index + 1): \(line)")
      }
    }
  }

  @Test("Every provider and store of ours passes the conformance kit")
  func conformance() throws {
    for plugin in ["Memory", "File", "PKCS11"] {
      let tests = try Self.files(in: ["Tests/KeyCustody\(plugin)Tests"]).flatMap(\.lines)
      for suite in ["KeyProviderConformance.all", "PolicyStoreConformance.all"] {
        #expect(tests.contains { $0.contains(suite) }, "\(plugin) runs \(suite)")
      }
    }
    for plugin in ["SQLite", "PostgreSQL"] {
      let tests = try Self.files(in: ["Tests/KeyCustody\(plugin)Tests"]).flatMap(\.lines)
      #expect(tests.contains { $0.contains("PolicyStoreConformance.all") }, "\(plugin)")
    }
    let remote = try Self.files(in: ["Tests/KeyCustodyAzureKeyVaultTests"]).flatMap(\.lines)
    #expect(remote.contains { $0.contains("KeyProviderConformance.all") }, "AzureKeyVault")
    for plugin in ["Memory", "SQLite", "PostgreSQL"] {
      let tests = try Self.files(in: ["Tests/KeyCustody\(plugin)Tests"]).flatMap(\.lines)
      #expect(tests.contains { $0.contains("SealedTableConformance.all") }, "\(plugin)")
    }
    let vault = try Self.files(in: ["Tests/KeyCustodyVaultTests"]).flatMap(\.lines)
    #expect(vault.contains { $0.contains("IdentityProviderConformance.all") })
  }
}
