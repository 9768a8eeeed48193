import KeyCustody
import KeyCustodyServices
import KeyCustodyVault
import Testing

/// What would stop if a key were taken away (DESIGN 7).
struct ImpactTests {
  @Test("DESIGN 7: the impact of a key lists the resources under it, by version, and of the service's keys all of them")
  func impact() async throws {
    let bench = try await ServiceBench()
    let vaults = bench.custody.vaults
    let (_, key) = try await bench.makeBound("notes")
    _ = try await bench.makeBound("more", key: key)
    _ = try await bench.makeResource("free")
    func resources(_ uri: KeyURI) async throws -> [String] {
      Set(try await vaults.impact(of: uri).map(\.resource.spelling)).sorted()
    }
    #expect(try await resources(key) == ["more", "notes"])
    #expect(try await resources(key.with(version: nil)) == ["more", "notes"])
    let next = try await bench.rotate(key)
    #expect(try await resources(next).isEmpty, "nothing is under the new version yet")
    #expect(try await resources(bench.uri("unbound")).isEmpty)
    let service = try vaults.uri(VaultName("key-custody-service"), KeyName("service-layer"))
    #expect(try await resources(service) == ["free", "more", "notes"])
  }

  @Test("V5, E8: a vault that lets no service in suspends at once what is under its keys, and E4: can't be bound")
  func network() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound("notes")
    let other = try await bench.makeResource("other")
    let sealed = try await notes.seal(Array("x".utf8), as: "value")
    try await bench.custody.vaults.setNetworkRules(.only([], trustedServicesBypass: false), in: bench.vault)
    #expect(await failure { _ = try await notes.open(sealed, as: "value") }?.reason == .networkRefused)
    #expect(await failure { try await other.enableCustomerKey(key, converting: []) }?.reason == .networkRefused)
    try await bench.custody.vaults.setNetworkRules(.only([]), in: bench.vault)
    #expect(try await notes.open(sealed, as: "value") == Array("x".utf8))
    try await other.enableCustomerKey(key, converting: [])
  }
}
