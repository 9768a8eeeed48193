import KeyCustody
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// A customer's keys in a key provider of their own, with no vault before it, wherever that keeps them.
@Suite("Keys of a provider, used directly")
struct DirectKeysTests {
  @Test(
    "E1, E7, E8, E11: bound, exchanged for one of another type, gone, and left again", arguments: Backing.ofKeys)
  func life(_ backing: Backing) async throws {
    let deployment = try await Deployment(Composition(keys: .file, identity: .memory, policy: .sqlite), direct: backing)
    let audit = RecordingAuditSink()
    var custody = try await deployment.open(audit: audit)
    var notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    try await notes.switchIdentityOn()
    let first = try await Self.makeKey(.rsa(bits: 2048), in: custody)
    let store = try FolderSealedStore(folder: deployment.folder.appending("data"))
    let text = Array("kept".utf8)
    try await store.put(text, as: "kept", in: notes)
    try await deployment.whileLeasesEnd(custody) { [notes] in
      try await notes.enableCustomerKey(first, converting: [store])
    }

    await custody.close()
    custody = try await deployment.open(audit: audit)
    notes = try await custody.resource(ResourceID("notes"))
    #expect(try await notes.status().key == first)
    #expect(try await store.get("kept", in: notes) == text, "after a restart")

    let second = try await Self.makeKey(.aes(bits: 256), in: custody)
    try await notes.updateCustomerKey(second, converting: [])
    try await Self.destroy(first, in: custody)
    deployment.clock.advance(by: .seconds(61))
    #expect(try await store.get("kept", in: notes) == text, "the key before is needed by nothing")

    let third = try await Self.makeKey(.aes(bits: 256), in: custody)
    try await notes.updateCustomerKey(third, converting: [])
    try await deployment.whileLeasesEnd(custody) { [notes] in
      try await notes.disableCustomerKey(converting: [store])
    }
    try await Self.destroy(third, in: custody)
    deployment.clock.advance(by: .seconds(61))
    #expect(try await store.get("kept", in: notes) == text, "E11: the service's key alone")

    try await deployment.whileLeasesEnd(custody) { [notes] in
      try await notes.enableCustomerKey(second, converting: [store])
    }
    try await Self.destroy(second, in: custody)
    deployment.clock.advance(by: .seconds(61))
    let refused = KeyCustodyError(.notFound, .keyVersionUnknown, "")
    await #expect(throws: refused) { _ = try await store.get("kept", in: notes) }
    await #expect(throws: refused) { try await store.put(text, as: "later", in: notes) }
    #expect(try await notes.status().health == .suspended(reason: "key-version-unknown"))
    await custody.close()
  }

  private static let context = CallContext(purpose: .administration)

  /// What the customer does with a tool of their own.
  private static func makeKey(_ type: KeyType, in custody: KeyCustody) async throws -> KeyURI {
    let provider = try #require(custody.keyProviders["theirs"])
    let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: .wrapping)
    let key = try await provider.generate(request, context: context)
    return try KeyURI("https://contoso-keys.key-provider/keys/key/\(key.version)")
  }

  private static func destroy(_ key: KeyURI, in custody: KeyCustody) async throws {
    let provider = try #require(custody.keyProviders["theirs"])
    try await provider.destroy(try #require(key.version), context: context)
  }
}
