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
    "group":"longTerm","holder":{"subject":"Notes","tenant":"Contoso"},"id":"\(id)","isCustomerManaged":\(isCustomers),"isPrimary":true,\
    "kek":"\(kek)","layer":"\(layer)"}
    """
  }

  /// With all that a record can have, as it was written when each part of it wrote itself by `Codable`.
  private static let full = """
    {"created":1700000000000,"customerKey":"\(kek)","followsNewest":true,"id":"Notes","identity":{"subject":"Notes","tenant":"Contoso"},\
    "mode":"customerManaged","profile":\(profile),"region":"local","rootKeys":[\
    \(rootKey("0000000000000001", "service", "https://service.example:8443/keys/kek", isCustomers: false)),\
    \(rootKey("0000000000000002", "customer", kek, isCustomers: true))],"tenant":"Contoso"}
    """
  private static let bare = """
    {"created":-1,"id":"Notes","mode":"serviceManaged","profile":\(profile),"region":"local","rootKeys":[],"tenant":"Contoso"}
    """

  /// One that a version wrote whose records wrote themselves by `Codable`, without all but one of its keys.
  private static let captured = """
    {"created":1795348517189,"id":"customer-1","mode":"serviceManaged","profile":{"advisedDaysOfOldKey":0,"dataC\
    lasses":[{"group":"longTerm","name":"long-term"},{"group":"transient","name":"transient"},{"group":"servingC\
    opy","name":"serving-copy"}],"grantee":"identityGrantedByCustomer","keyTypes":[],"name":"custom","operations\
    ":[],"requiresAccessPolicies":false,"requiresSameRegion":false,"rotation":"rewrap","transientEpochHours":12,\
    "transientLifetimeHours":12,"versionChoice":"newest"},"region":"local","rootKeys":[{"algorithm":"A256KW","co\
    mmitment":"038d4466c451502f48415783fa56101c99eedc100a5ff52f7cf9d5aff331ef5b","created":1795348517191,"envelo\
    pe":{"ciphertext":"nB39ekmWxD-9WbOnixXhyzc5a6vVwAIU-vchW8mFlQk","encrypted_key":"vKfbGfShMX00cp4a6tvyFGQkj8Y\
    fr6DkP0fiSigkXrfkB0_i7-Hq3w","iv":"Ao4oBj5Gm4JOa_cG","protected":"eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIi\
    wia2lkIjoiaHR0cHM6Ly9rZXktY3VzdG9keS1zZXJ2aWNlLnZhdWx0LmxvY2FsL2tleXMvc2VydmljZS1sYXllci8wOGM3NzhmOTBmOGE3Ym\
    Q3MWM0MTA1ZDVhZTFmODJkNyIsImtjLXJlcyI6ImN1c3RvbWVyLTEiLCJrYy1sYXllciI6InNlcnZpY2UiLCJrYy1ncm91cCI6ImxvbmdUZX\
    JtIiwia2MtZXBvY2giOjF9","tag":"aTGmr7VjWfEP1Ms2TfxVJw"},"epoch":1,"group":"longTerm","holder":{"subject":"ke\
    y-custody","tenant":"service"},"id":"038d4466c451502f","isCustomerManaged":false,"isPrimary":true,"kek":"htt\
    ps://key-custody-service.vault.local/keys/service-layer/08c778f90f8a7bd71c4105d5ae1f82d7","layer":"service"}\
    ],"tenant":"tenant"}
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

  @Test("A record of an earlier version is read, and written as it was")
  func earlier() throws {
    let record = try ResourceRecord(json: JSON(Array(Self.captured.utf8)))
    var writer = JSONWriter()
    record.write(to: &writer)
    #expect(String(decoding: writer.bytes, as: UTF8.self) == Self.captured)
    #expect(record.rootKeys.map(\.holder.description) == ["service/key-custody"])
    #expect(
      try record.rootKeys[0].envelope.checked(against: record.rootKeys[0].facts(record.id)).encryptedKey.count == 40)
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
      ("\"holder\":{\"subject\":\"Notes\"", "\"holder\":{\"subject\":\"\""), ("\"isPrimary\":true", "\"isPrimary\":1"),
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
