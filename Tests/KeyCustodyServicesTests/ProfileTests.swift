import Foundation
import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// What makes services differ (SEMANTICS E4, E5, E7, E9, E13).
@Suite("Profiles", .timeLimit(.minutes(10)))
struct ProfileTests {
  @Test("E9: what a withdrawn key stops, and what goes on, by profile")
  func operations() async throws {
    for profile in try Profile.known() where !profile.operations.isEmpty {
      let bench = try await ServiceBench()
      let (resource, key) = try await Self.bound(bench, profile)
      for operation in profile.operations { try await resource.require(operation.name) }
      try await bench.update(key, isEnabled: false)
      for operation in profile.operations {
        let reason = await failure { try await resource.require(operation.name) }?.reason
        #expect(reason == (operation.stopsWithKey ? .keyDisabled : nil), "\(profile.name): \(operation.name)")
      }
      for rule in profile.dataClasses {
        let reason = await failure {
          _ = try await resource.seal([1], as: "value", dataClass: rule.name.spelling)
        }?.reason
        #expect(reason == (rule.group == .longTerm ? .keyDisabled : nil), "\(profile.name): \(rule.name)")
      }
      try await bench.update(key, isEnabled: true)
      for operation in profile.operations { try await resource.require(operation.name) }
      #expect(await failure { try await resource.require("nothing") }?.reason == .operationUnknown)
    }
  }

  @Test("E4, I6: a bot's grantee is the registered service, and it needs no identity")
  func registration() async throws {
    let bench = try await ServiceBench()
    let bot = try await bench.custody.createResource(ResourceID("bot"), tenant: TenantID("contoso"), profile: .bot())
    let key = try await bench.makeKey()
    #expect(await failure { try await bot.enableCustomerKey(key, converting: []) }?.reason == .registrationRequired)
    let service = try await bench.custody.register(in: TenantID("contoso"))
    #expect(try await bench.custody.register(in: TenantID("contoso")) == service, "once is enough")
    #expect(await failure { try await bot.enableCustomerKey(key, converting: []) }?.reason == .grantRequired)
    try await bench.grant(service)
    try await bot.enableCustomerKey(key, converting: [])
    let sealed = try await bot.seal([1], as: "name", dataClass: "configuration")
    #expect(try await bot.status().identity == nil)
    try await bench.custody.unregister(in: TenantID("contoso"))
    #expect(
      await failure { _ = try await bot.open(sealed, as: "name", dataClass: "configuration") }?.reason == .identityOff)
    try await bench.custody.register(in: TenantID("contoso"))
    #expect(try await bot.open(sealed, as: "name", dataClass: "configuration") == [1])
  }

  @Test("E4: a language project's identity is switched on and granted for its customer, unless a check fails")
  func grantedForCustomer() async throws {
    let bench = try await ServiceBench()
    let project = try await bench.custody.createResource(
      ResourceID("project"), tenant: TenantID("contoso"), profile: .language())
    let wrong = try await bench.makeKey("aes")
    #expect(await failure { try await project.enableCustomerKey(wrong, converting: []) }?.reason == .wrongKeyType)
    #expect(try await bench.custody.vaults.policy(of: bench.vault).rules.map(\.name) == ["owner"], "taken back")
    let key = try await bench.makeKey("rsa", type: .rsa(bits: 2048))
    try await project.enableCustomerKey(key, converting: [])
    #expect(try await project.status().identity?.description == "contoso/project")
    let granted = try await bench.custody.vaults.policy(of: bench.vault).permissions(of: PrincipalID("contoso/project"))
    #expect(granted == [.get, .wrapKey, .unwrapKey])
  }

  @Test("E4: network rules that keep trusted services out are an error of their own")
  func firewall() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let range = try AddressRange("192.0.2.0/24")
    try await bench.custody.vaults.setNetworkRules(.only([range], trustedServicesBypass: false), in: bench.vault)
    let refusal = await failure { try await notes.enableCustomerKey(key, converting: []) }
    #expect(refusal == error(.denied, .networkRefused))
    #expect(try await notes.status().mode == .serviceManaged)
    try await bench.custody.vaults.setNetworkRules(.only([range]), in: bench.vault)
    try await notes.enableCustomerKey(key, converting: [])
  }

  @Test("E4: what was granted for the customer is taken back when a check fails, and what stood there is put back")
  func grantTakenBack() async throws {
    let bench = try await ServiceBench()
    let thing = try await bench.custody.createResource(
      ResourceID("thing"), tenant: TenantID("contoso"), profile: .language())
    _ = try await bench.makeKey(type: .rsa(bits: 2048))
    let absent = try bench.uri("absent")
    func rules() async throws -> [AccessRule] {
      try await bench.custody.vaults.policy(of: bench.vault).rules.filter { $0.name == "allow-thing" }
    }
    #expect(await failure { try await thing.enableCustomerKey(absent, converting: []) }?.reason == .keyUnknown)
    #expect(try await rules() == [])
    let earlier = AccessRule(name: "allow-thing", principal: try PrincipalID("contoso/reader"), keys: [.get])
    try await bench.custody.vaults.setRule(earlier, in: bench.vault)
    #expect(await failure { try await thing.enableCustomerKey(absent, converting: []) }?.reason == .keyUnknown)
    #expect(try await rules() == [earlier])
  }

  @Test("A profile survives being written down, and one of an older record is read")
  func coding() throws {
    var full = Profile(
      name: "\"full\"\n/ü", dataClasses: [.init(name: try DataClass("Stored"), group: .longTerm)],
      keyTypes: [.rsa(bits: 3072), .ec(.p521)], requiresSameRegion: true, rotation: .reencrypt)
    full.requiresAccessPolicies = true
    full.grantee = .registeredService
    full.versionChoice = .newest
    full.operations = [.init("train", stopsWithKey: true), .init("list", stopsWithKey: false)]
    full.longTermAfterHours = 48
    (full.transientEpochHours, full.transientLifetimeHours, full.advisedDaysOfOldKey) = (3, 4, 5)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    for profile in try Profile.known() + [full] {
      let text = try encoder.encode(profile)
      #expect(try JSONDecoder().decode(Profile.self, from: text) == profile)
      // In the records of resources it is read and written in another way, and is the same.
      var writer = JSONWriter()
      profile.write(to: &writer)
      #expect(writer.bytes == Array(text))
      #expect(try Profile(json: JSON(writer.bytes)) == profile)
    }
    let old = #"{"name":"mine","dataClasses":[],"keyTypes":[],"requiresSameRegion":false,"rotation":"rewrap"}"#
    let read = try JSONDecoder().decode(Profile.self, from: Data(old.utf8))
    #expect(read == Profile(name: "mine", dataClasses: []))
    #expect(try Profile(json: JSON(Array(old.utf8))) == read)
  }

  @Test("The table in the documentation is the one that the profiles make")
  func table() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let guide = root.appending(path: "Sources/KeyCustody/KeyCustody.docc/Guides/Profiles.md")
    let text = try String(contentsOf: guide, encoding: .utf8)
    let table = ProfileTable(try Profile.known()).markdown
    #expect(text.contains(table), "Put this into Profiles.md:\n\(table)")
  }

  private static func bound(
    _ bench: ServiceBench, _ profile: Profile
  ) async throws -> (ProtectedResource, KeyURI) {
    let resource = try await bench.custody.createResource(
      ResourceID("thing"), tenant: TenantID("contoso"), profile: profile)
    switch profile.grantee {
    case .registeredService: try await bench.grant(try await bench.custody.register(in: TenantID("contoso")))
    case .identityGrantedForCustomer: break
    case .identityGrantedByCustomer: try await bench.grant(try await resource.switchIdentityOn())
    }
    let key = try await bench.makeKey(type: profile.keyTypes.first ?? .aes(bits: 256))
    try await resource.enableCustomerKey(key, converting: [])
    return (resource, key)
  }
}
