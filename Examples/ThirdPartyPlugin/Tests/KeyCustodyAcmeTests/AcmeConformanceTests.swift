import Crypto
import FoundationEssentials
import KeyCustody
import KeyCustodyAcme
import KeyCustodyTesting
import Testing

/// A folder that goes when the last thing that uses it does.
final class TemporaryFolder: Sendable {
  let path: String
  init() throws {
    path = FileManager.default.temporaryDirectory.appending(path: "acme-\(UUID())").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite("The Acme key provider")
struct AcmeConformanceTests {
  static let secret = "0123456789abcdef0123456789abcdef"

  static let subject = KeyProviderSubject(
    verify: { signature, digest, publicKey, _ in
      try P256.Signing.PublicKey(derRepresentation: publicKey).isValidSignature(
        P256.Signing.ECDSASignature(rawRepresentation: signature), for: TestDigest(bytes: digest))
    },
    make: { environment in
      let folder = try TemporaryFolder()
      var environment = environment
      environment.variables = ["ACME_SECRET": secret]
      let given = environment
      return .persistent {
        // Through the plugin, as a host opens it.
        let configuration = KeyCustodyConfiguration([
          "keys": ["plugin": "acme", "file": .string("\(folder.path)/acme.keys"), "secretEnvironment": "ACME_SECRET"]
        ])
        return try await [AcmePlugin.plugin].openKeyProvider(configuration.root.section("keys"), given)
      }
    })

  @Test("The contract of KeyProvider", arguments: KeyProviderConformance.all)
  func conforms(to behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    try await behavior.run(Self.subject)
  }

  static let faultySubject = KeyProviderSubject(verify: subject.verify) { environment in
    let folder = try TemporaryFolder()
    let disk = FaultyDisk()
    var environment = environment
    environment.variables = ["ACME_SECRET": secret]
    let given = environment
    return .persistent(faults: disk.faults) {
      try await AcmeKeyProvider(
        file: "\(folder.path)/acme.keys", secret: .environment("ACME_SECRET"), environment: given, disk: disk)
    }
  }

  @Test("The contract of KeyProvider when the disk fails", arguments: KeyProviderConformance.faults)
  func conformsUnderFaults(to behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Self.faultySubject)
    // Keys are in memory and the file is read at opening alone: what remains is what changes it.
    let touches = ["generate", "import", "destroy", "opening"].contains { behavior.name.hasPrefix("\($0) survives") }
    let made = ["refused call", "lost answer", "outage", "full", "crash"].contains { behavior.name.contains($0) }
    #expect(result.isPassed || !(touches && made), "\(result)")
  }

  @Test("A wrong secret is refused, and the file is then unharmed")
  func wrongSecret() async throws {
    let folder = try TemporaryFolder()
    let right = RuntimeEnvironment(variables: ["S": Self.secret])
    let wrong = RuntimeEnvironment(variables: ["S": String(Self.secret.reversed())])
    let first = try await AcmeKeyProvider(file: "\(folder.path)/keys", secret: .environment("S"), environment: right)
    let identity = first.identity
    await first.close()
    await #expect(throws: KeyCustodyError(.credentialRejected, .wrongSecret, "")) {
      try await AcmeKeyProvider(file: "\(folder.path)/keys", secret: .environment("S"), environment: wrong)
    }
    let again = try await AcmeKeyProvider(file: "\(folder.path)/keys", secret: .environment("S"), environment: right)
    #expect(again.identity == identity)
    await again.close()
  }

  @Test("A flipped bit anywhere in the file is found")
  func damage() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/keys"
    let environment = RuntimeEnvironment(variables: ["S": Self.secret])
    let provider = try await AcmeKeyProvider(file: path, secret: .environment("S"), environment: environment)
    _ = try await provider.generate(
      GenerateKeyRequest(version: KeyVersionID(random: SystemRandom()), type: .aes(bits: 256), role: .wrapping),
      context: CallContext(purpose: .administration))
    await provider.close()
    let whole = try Data(contentsOf: URL(filePath: path))
    for index in whole.indices {
      var altered = whole
      altered[index] ^= 1
      try altered.write(to: URL(filePath: path))
      await #expect(throws: KeyCustodyError.self) {
        try await AcmeKeyProvider(file: path, secret: .environment("S"), environment: environment)
      }
    }
  }
}

private struct TestDigest: Digest {
  static let byteCount = 32
  let bytes: [UInt8]
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try bytes.withUnsafeBytes(body)
  }
  var description: String { bytes.hexadecimal }
}
