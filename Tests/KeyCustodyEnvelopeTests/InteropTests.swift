import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

private let interopFolder = ProcessInfo.processInfo.environment["KEYCUSTODY_INTEROP"]

/// The Swift half of Examples/open-without-us/check.sh, which names the folder that both halves use.
@Suite(.enabled(if: interopFolder != nil))
struct InteropTests {
  private static let sizes = [0, 1, 16_383, 16_384, 16_385, 300_000]
  private let random = SystemRandom()

  private func write(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(filePath: path)) }

  private func makeFolder(_ name: String) throws -> String {
    let path = "\(try #require(interopFolder))/\(name)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// Makes a KEK and writes its private key for the script.
  private func makeKEK(_ type: KeyType, _ path: String) throws -> SoftwareKey {
    let kek = try SoftwareKey.generate(type, random: random)
    // Test keys, made here and gone with the folder: ordinary memory is good enough.
    let bytes = try kek.serialized().withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    if case .aes = type {
      try write(Array(bytes.hexadecimal.utf8), path)
    } else {
      let text = Data(bytes).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
      try write(Array("-----BEGIN PRIVATE KEY-----\n\(text)\n-----END PRIVATE KEY-----\n".utf8), path)
    }
    return kek
  }

  struct Case: Sendable {
    let name: String
    let customer: (KeyType, WrapAlgorithm)
    let service: (KeyType, WrapAlgorithm)
  }

  @Test("What is sealed here opens with stock Python packages and the KEKs' private keys")
  func writeSealed() async throws {
    let cases = [
      Case(name: "rsa", customer: (.rsa(bits: 2048), .rsaOAEP256), service: (.rsa(bits: 2048), .rsaOAEP)),
      Case(name: "aes", customer: (.aes(bits: 256), .aes256KW), service: (.aes(bits: 256), .aes256KW)),
      Case(name: "mixed", customer: (.rsa(bits: 3072), .rsaOAEP256), service: (.aes(bits: 256), .aes256KW)),
    ]
    for sample in cases {
      let folder = try makeFolder("case-\(sample.name)")
      let context = try makeContext(resource: "Bot-1", object: "conversations/\u{00fc}7")
      var envelopes: [KeyEnvelope] = []
      var keys: [Layer: RootKey] = [:]
      for (layer, kind) in [(Layer.customer, sample.customer), (.service, sample.service)] {
        let kek = try makeKEK(kind.0, "\(folder)/\(layer.rawValue).kek")
        let facts = KeyEnvelopeFacts(
          kid: KeyEnvelopeTests.kid, algorithm: kind.1, resource: context.resource, layer: layer, group: .longTerm,
          epoch: 0)
        // An older root key's envelope stands beside the one in use, as in a keyset after a rotation.
        for isPrimary in [false, true] {
          let material = try RootKey.generateMaterial(random: random)
          envelopes.append(try await KeyEnvelopeTests.seal(material, facts, kek))
          if isPrimary { keys[layer] = try RootKey(material: material) }
        }
      }
      let pair = LayeredKeys(service: try #require(keys[.service]), customer: try #require(keys[.customer]))
      try write(Array(try JSONEncoder().encode(envelopes)), "\(folder)/envelopes.json")
      let arguments = [
        "--kek", "\(folder)/customer.kek", "--kek", "\(folder)/service.kek", "--envelopes", "\(folder)/envelopes.json",
        "--resource", "bot-1", "--class", "longterm", "--object", context.object, "--identifier", "user=u-2",
        "--identifier", "tenant=t-1",
      ]
      try write(Array(arguments.joined(separator: "\n").utf8), "\(folder)/arguments")
      for size in Self.sizes {
        let content = pattern(size)
        let record = try TwoLayers.sealRecord(content, keys: pair, context: context, random: random)
        try write(record, "\(folder)/sealed-record-\(size)")
        try write(content, "\(folder)/plain-record-\(size)")
        try write(content, "\(folder)/plain-object-\(size)")
        try await TwoLayers.sealFile(
          from: "\(folder)/plain-object-\(size)", to: "\(folder)/sealed-object-\(size)", keys: pair, context: context,
          random: random)
      }
    }
    try writeForeign()
  }

  private static let foreignMaterial: UInt8 = 42

  private static let foreignKEK: UInt8 = 43

  /// What Python needs to seal a layer for us, and to wrap a root key.
  private func writeForeign() throws {
    let folder = try makeFolder("foreign")
    let key = try makeRootKey(Self.foreignMaterial)
    let sizes = Self.sizes
    for (kind, label, prefix) in [(SealedHeader.Kind.object, "object", ""), (.record, "record", "record-")] {
      let header = SealedHeader(kind: kind, rootKey: key.id)
      let context = try makeContext().encoded(for: .service, header: header)
      let arguments = [header.bytes, try derived(label), context].map(\.hexadecimal)
      try write(Array(arguments.joined(separator: "\n").utf8), "\(folder)/\(prefix)arguments")
      for size in sizes { try write(pattern(size), "\(folder)/\(prefix)plain-\(size)") }
    }
    let secrets = [Self.foreignKEK, Self.foreignMaterial].map { [UInt8](repeating: $0, count: 32).hexadecimal }
    let protected = String(decoding: try Self.foreignFacts().protectedHeader, as: UTF8.self)
    try write(Array((secrets + [protected]).joined(separator: "\n").utf8), "\(folder)/envelope-arguments")
  }

  private func derived(_ label: String) throws -> [UInt8] {
    let material = [UInt8](repeating: Self.foreignMaterial, count: 32)
    return try Hashing.expand(
      .sha512, key: unsafe material.span.bytes, info: Array("key-custody/v1/\(label)".utf8), count: 32
    ).withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  private static func foreignFacts() throws -> KeyEnvelopeFacts {
    KeyEnvelopeFacts(
      kid: KeyEnvelopeTests.kid, algorithm: .aes256KW, resource: try makeContext().resource, layer: .service,
      group: .longTerm, epoch: 3)
  }

  @Test("Objects, records and a key envelope that stock Python packages sealed open here")
  func openForeign() async throws {
    let folder = try makeFolder("foreign")
    let key = try makeRootKey(Self.foreignMaterial)
    let context = try makeContext()
    for size in Self.sizes {
      let object = Array(try Data(contentsOf: URL(filePath: "\(folder)/sealed-\(size)")))
      #expect(try openLayer(object, key: key, context: context) == pattern(size))
      let record = Array(try Data(contentsOf: URL(filePath: "\(folder)/record-sealed-\(size)")))
      #expect(try RecordLayer.open(record, key: key, layer: .service, context: context) == pattern(size))
    }
    let envelope = try JSONDecoder().decode(
      KeyEnvelope.self, from: Data(contentsOf: URL(filePath: "\(folder)/envelope.json")))
    let kek = [UInt8](repeating: Self.foreignKEK, count: 32)
    let material = try await envelope.open(expecting: Self.foreignFacts()) {
      (wrapped) async throws(KeyCustodyError) -> SecretBytes in
      try AES256KeyWrap.unwrap(wrapped, key: unsafe kek.span.bytes)
    }
    #expect(try RootKey(material: material).id == key.id)
  }
}
