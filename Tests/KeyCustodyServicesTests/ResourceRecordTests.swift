import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyServices

/// Records of resources as they lie in stores: what one version wrote, every later one reads.
struct ResourceRecordTests {
  private static let envelope = """
    {"ciphertext":"c","encrypted_key":"e","iv":"i","protected":"p","tag":"t"}
    """
  private static let profile = """
    {"advisedDaysOfOldKey":0,"dataClasses":[{"group":"transient","name":"Call"}],"grantee":"identityGrantedByCustomer",\
    "keyTypes":["rsa-2048"],"name":"mine","operations":[{"name":"say \\"hi\\"","stopsWithKey":true}],\
    "requiresAccessPolicies":false,"requiresSameRegion":true,"rotation":"reencrypt","transientEpochHours":12,\
    "transientLifetimeHours":12,"versionChoice":"kept"}
    """
  private static let kek = "https://kv1.vault.example/keys/Master/0123456789abcdef0123456789abcdef"
  private static let commitment = String(repeating: "ab", count: 32)

  private static func rootKey(_ id: String, _ layer: String, _ kek: String, isCustomers: Bool) -> String {
    """
    {"algorithm":"RSA-OAEP-256","commitment":"\(commitment)","created":1700000000123,"envelope":\(envelope),"epoch":3,\
    "group":"longTerm","holder":"contoso/Notes","id":"\(id)","isCustomerManaged":\(isCustomers),"isPrimary":true,\
    "kek":"\(kek)","layer":"\(layer)"}
    """
  }

  /// With all that a record can have, as it was written when each part of it wrote itself by `Codable`.
  private static let full = """
    {"created":1700000000000,"customerKey":"\(kek)","followsNewest":true,"id":"Notes","identity":"contoso/Notes",\
    "mode":"customerManaged","profile":\(profile),"region":"local","rootKeys":[\
    \(rootKey("0000000000000001", "service", "https://service.example:8443/keys/kek", isCustomers: false)),\
    \(rootKey("0000000000000002", "customer", kek, isCustomers: true))],"tenant":"Contoso"}
    """
  private static let bare = """
    {"created":-1,"id":"Notes","mode":"serviceManaged","profile":\(profile),"region":"local","rootKeys":[],"tenant":"Contoso"}
    """

  @Test("What is in a record is what was written, and it is written as it was", arguments: [full, bare])
  func stays(_ text: String) async throws {
    let view = RecordView<ResourceRecord>(try MemoryPolicyStore())
    let (first, second) = (try RecordKey("resources/first"), try RecordKey("resources/second"))
    _ = try await view.store.compareAndSet(first, expecting: nil, value: Array(text.utf8))
    let record = try #require(try await view.read(first))
    #expect(try await view.create(second, record))
    #expect(try await view.store.read(second)?.value == Array(text.utf8))
    #expect(record.id.spelling == "Notes" && record.tenant.spelling == "Contoso")
    #expect(record.profile.operations.allSatisfy { $0 == .init("say \"hi\"", stopsWithKey: true) })
  }

  @Test("Each key of a keyset has its own KEK and holder")
  func names() throws {
    let record = try ResourceRecord(json: JSON(Array(Self.full.utf8)))
    #expect(record.rootKeys.map(\.kek.description) == ["https://service.example:8443/keys/kek", Self.kek])
    #expect(record.rootKeys.map(\.layer) == [.service, .customer])
    #expect(record.rootKeys.map(\.isCustomerManaged) == [false, true])
    #expect(record.identity == (try PrincipalID("contoso/notes")) && record.followsNewest == true)
    #expect(record.created == Timestamp(milliseconds: 1_700_000_000_000))
  }

  @Test("What a later version adds is passed over; a record that lacks a part, or has another in its place, is damaged")
  func damage() async throws {
    let view = RecordView<ResourceRecord>(try MemoryPolicyStore())
    let later = Self.full.replacing("\"mode\":", with: "\"later\":{\"x\":[1,null]},\"mode\":")
    #expect(try Self.read(later, view).rootKeys.count == 2)
    #expect(
      try Self.read(Self.full.replacing("\"followsNewest\":true", with: "\"followsNewest\":null"), view).followsNewest
        == nil)
    let damages = [
      ("\"mode\":\"customerManaged\",", ""), ("customerManaged", "unheard-of"),
      ("\"id\":\"Notes\"", "\"id\":\"not a name\""),
      ("\"rootKeys\":[", "\"rootKeys\":[{},"), ("\"epoch\":3", "\"epoch\":\"3\""), ("\"epoch\":3", "\"epoch\":3.5"),
      ("\"tag\":\"t\"", "\"tag\":null"), ("\"layer\":\"service\"", "\"layer\":\"outer\""),
      (Self.kek, "https://kv1/secrets/a"),
      ("\"holder\":\"contoso/Notes\"", "\"holder\":\"contoso\""), ("\"isPrimary\":true", "\"isPrimary\":1"),
      ("\"followsNewest\":true", "\"followsNewest\":\"yes\""), ("\"tenant\":", "\"id\":\"again\",\"tenant\":"),
      ("}", "}}"),
    ]
    for (sound, damaged) in damages {
      let text = Self.full.replacing(sound, with: damaged)
      #expect(text != Self.full)
      #expect(throws: KeyCustodyError.of(.integrityFailure, .damaged), "\(damaged)") { try Self.read(text, view) }
    }
  }

  private static func read(
    _ text: String, _ view: RecordView<ResourceRecord>
  ) throws(KeyCustodyError) -> ResourceRecord {
    let record = PolicyRecord(
      key: try RecordKey("resources/notes"), revision: StoreRevision(1), value: Array(text.utf8))
    return try view.decode(record).value
  }
}
