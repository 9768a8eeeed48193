@testable import KeyCustody
@testable import KeyCustodyEnvelope
@testable import KeyCustodyServices

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A store that holds one record, whatever it is asked for.
private struct OneRecord: PolicyStore {
  let value: [UInt8]
  var identity: ProviderIdentity { ProviderIdentity(kind: "fuzz", instance: "1") }
  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    PolicyRecord(key: key, revision: StoreRevision(1), value: value)
  }
  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome { .stored(StoreRevision(2)) }
  func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome { .stored(StoreRevision(2)) }
  func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] { [] }
  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    AsyncStream { $0.finish() }
  }
  func currentRevision() async throws(KeyCustodyError) -> StoreRevision { StoreRevision(1) }
  func close() async {}
}

extension FuzzTarget {
  private static func encode(_ record: ResourceRecord) -> [UInt8] {
    var writer = JSONWriter()
    record.write(to: &writer)
    return writer.bytes
  }

  private static let sample: ResourceRecord = made {
    let kek = try KeyURI("https://kv1.vault.example:8443/keys/cmk/000102030405060708090a0b0c0d0e0f")
    let holder = try PrincipalID("tenant-1/identity-1")
    let keys = Layer.allCases.map { layer in
      RootKeyRecord(
        id: Fixtures.keys.service.id, commitment: Fixtures.keys.service.commitment.hexadecimal, layer: layer,
        group: .longTerm, epoch: 1, kek: kek, algorithm: .aes256KW, holder: holder,
        isCustomerManaged: layer == .customer, envelope: sampleEnvelope, isPrimary: true,
        created: Timestamp(seconds: 1_700_000_000))
    }
    return ResourceRecord(
      id: try ResourceID("bot-1"), tenant: try TenantID("tenant-1"), region: try Region("local"),
      profile: try Profile.custom(), mode: .customerManaged, identity: holder, customerKey: kek, rootKeys: keys,
      created: Timestamp(seconds: 1_700_000_000))
  }

  /// A resource's record, its keyset with it: what reads is written and read again the same, and what does not is
  /// called damaged.
  static let keyset = FuzzTarget(
    name: "keyset",
    seeds: {
      var bare = sample
      bare.rootKeys = []
      return [encode(sample), encode(bare), Array("{}".utf8)]
    },
    run: { input in
      let read = immediately { () async -> Result<ResourceRecord?, any Error> in
        do {
          let view = RecordView<ResourceRecord>(OneRecord(value: input))
          return .success(try await view.read(try RecordKey("resources/bot-1")))
        } catch { return .failure(error) }
      }
      guard let found = allowing([.integrityFailure], { try read.get() }), let record = found else { return }
      let text = encode(record)
      let again = made { try ResourceRecord(json: JSON(text)) }
      require(encode(again) == text, "a record is not written as it was read")
      for layer in Layer.allCases { _ = record.primary(layer, .longTerm) }
      for key in record.rootKeys {
        _ = allowing([.integrityFailure]) { try key.envelope.peek() }
        require((try? KeyURI(key.kek.description)) == key.kek, "a KEK's address does not read back")
        require((try? RootKeyID(key.id.description)) == key.id, "a root key's name does not read back")
      }
      require((try? ResourceID(record.id.spelling)) == record.id, "a resource's name does not read back")
    })
}
