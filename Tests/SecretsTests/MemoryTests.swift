import Foundation
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// RELIABILITY 25: no secret stays in the memory of a process that has closed its deployment.
@Suite(.serialized)
struct MemoryTests {
  enum Keys: String, CaseIterable { case memory, file, pkcs11 }

  @Test(
    "RELIABILITY 25: after closing, no eight bytes of a key, a derived key, a PIN or a passphrase are left in memory",
    arguments: Keys.allCases)
  func nothingStays(keys: Keys) async throws {
    let folder = try TemporaryFolder()
    let seed = UInt64.random(in: 1 ... .max)
    let bench = try await Bench(keys, folder)
    let process = try ProbedProcess([folder.path, "\(seed)"] + bench.secretFiles)
    defer { process.end() }
    let stage = try process.nextStage()
    let lengths = stage.split(separator: " ").last?.split(separator: ",").compactMap { Int($0) } ?? []
    try #require(lengths.count > 8, "\(stage)")
    var secrets = bench.secrets
    let stored = try Self.contents(of: folder)
    try secrets.addDraws(lengths, seed: seed) { draw in
      stored.contains { $0.range(of: Data(draw)) != nil || $0.range(of: Data(draw.base64URL.utf8)) != nil }
    }

    let open = try process.search(secrets)
    for kind in bench.expectedWhileOpen {
      #expect(open.keys.contains { $0.hasPrefix(kind) }, "'\(kind)' must be found while it is in use")
    }

    process.goOn()
    #expect(try process.nextStage() == "closed")
    let left = try process.search(secrets)
    #expect(left.isEmpty, "\(left.map { "\($0.key): \($0.value)" }.sorted().joined(separator: "\n"))")
  }

  private static func contents(of folder: TemporaryFolder) throws -> [Data] {
    let names = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
    return names.compactMap { try? Data(contentsOf: URL(filePath: folder.appending($0))) }
  }
}

/// A configuration with what is secret about it.
private struct Bench {
  private(set) var secrets = Secrets()
  private(set) var secretFiles: [String] = []
  private(set) var expectedWhileOpen = ["object key", "nonce-derived key", "chunk key"]
  private let keys: MemoryTests.Keys

  init(_ keys: MemoryTests.Keys, _ folder: TemporaryFolder) async throws {
    self.keys = keys
    var section: [String: String] = ["plugin": keys.rawValue]
    switch keys {
    case .memory:
      try importKeys(folder)
      expectedWhileOpen += ["32 random bytes", "RSA prime", "EC scalar"]
    case .file:
      try importKeys(folder)
      let passphrase = try SystemRandom().bytes(12).hexadecimal
      section["directory"] = folder.appending("keys")
      section["passphraseFile"] = try folder.write(Array(passphrase.utf8), to: "passphrase")
      secretFiles = [folder.appending("passphrase")]
      secrets.add("passphrase", Array(passphrase.utf8))
      expectedWhileOpen += ["32 random bytes", "RSA prime", "EC scalar", "passphrase"]
    case .pkcs11:
      let token = try await SoftHSM.makeToken()
      section["module"] = token.module
      section["token"] = token.uri
      section["pinFile"] = token.pinFile
      secretFiles = [token.pinFile]
      secrets.add("PIN", Array(try Data(contentsOf: URL(filePath: token.pinFile))))
      expectedWhileOpen += ["PIN"]
    }
    let configuration: [String: Any] = [
      "keyProviders": ["keys": section], "policyStores": ["records": ["plugin": "memory"]],
      "service": ["keyProvider": "keys", "policyStore": "records"],
    ]
    try folder.write(Array(try JSONSerialization.data(withJSONObject: configuration)), to: "keycustody.json")
  }

  private mutating func importKeys(_ folder: TemporaryFolder) throws {
    for (name, type) in [("RSA", KeyType.rsa(bits: 2048)), ("EC", .ec(.p256))] {
      var der: [UInt8]
      // Read as text would be: a line break at the end would be lost.
      repeat { der = try SoftwareKey.generate(type, random: SystemRandom()).serialized().array } while der.last == 0x0a
      try folder.write(der, to: "\(name.lowercased()).der")
      try secrets.addPrivateKey(name, der)
    }
  }
}
