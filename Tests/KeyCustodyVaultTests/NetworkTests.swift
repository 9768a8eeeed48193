import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// From where a vault may be reached (SEMANTICS V5).
struct NetworkTests {
  private func from(_ address: String?) -> CallContext {
    CallContext(purpose: .vault, clientAddress: address)
  }

  @Test("V5: a range is read strictly")
  func parsing() throws {
    for text in [
      "192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0", "::1", "2001:db8::1/128",
      "192.0.2.128/25",
    ] {
      #expect(try AddressRange(text).description == text)
    }
    for text in [
      "", "/", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/024", "192.0.2.0/+4", "192.0.2", "192.0.02.1",
      "192.0.2.256", "2001:db8::1/32", "::/129", "fe80::1%eth0", "1:2:3:4:5:6:7:8:9", " 192.0.2.0/24", "192.0.2.0/24/1",
      "0x7f.0.0.1", "vault.test", "192.0.2.0/٢",
    ] {
      #expect(throws: error(.invalidInput, .malformed), "\(text)") { _ = try AddressRange(text) }
    }
  }

  @Test("V5: only addresses in the ranges get in, judged before any rule, and the refusal is recorded")
  func ranges() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    func attempt(_ address: String?) async -> KeyCustodyError? {
      await failure { _ = try await bench.vaults.key(key, as: bench.owner, context: from(address)) }
    }
    #expect(await attempt("203.0.113.9") == nil, "every address, at first")
    let ranges = [try AddressRange("192.0.2.0/25"), try AddressRange("2001:db8::/33")]
    try await bench.vaults.setNetworkRules(.only(ranges), in: bench.vault)
    for address in ["192.0.2.0", "192.0.2.127", "2001:db8:7fff::1", "::ffff:192.0.2.1", nil] {
      #expect(await attempt(address) == nil, "\(address ?? "this process")")
    }
    for address in [
      "192.0.2.128", "192.0.1.255", "2001:db8:8000::", "::1", "::ffff:192.0.2.128", "", "192.0.2", "nonsense",
    ] {
      bench.audit.removeAll()
      let refused = await attempt(address)
      #expect(refused == error(.denied, .networkRefused) && refused?.remedy.isEmpty == false, "\(address)")
      let event = bench.audit.events.last
      #expect(event?.rule == "network" && event?.outcome == .refused && event?.source == address)
    }
    let stranger = try VaultBench.principal("contoso/stranger", at: bench.clock)
    let both = await failure { _ = try await bench.vaults.key(key, as: stranger, context: from("203.0.113.9")) }
    #expect(both == error(.denied, .networkRefused), "a stranger from outside learns nothing of the rules")
    let seen = Seen<VaultChange>()
    bench.vaults.observers.add { seen.add($0) }
    try await bench.vaults.setNetworkRules(.only(ranges, trustedServicesBypass: false), in: bench.vault)
    #expect(seen.all == [.vault(bench.vault)], "whoever keeps something is told")
    #expect(await attempt(nil) == error(.denied, .networkRefused), "no bypass")
    #expect(await attempt("192.0.2.1") == nil)
    #expect(try await bench.reopened().networkRules(of: bench.vault).ranges == ranges, "kept in the store")
    try await bench.vaults.setNetworkRules(.everywhere, in: bench.vault)
    #expect(await attempt(nil) == nil)
    await #expect(throws: error(.notFound, .vaultUnknown)) {
      try await bench.vaults.setNetworkRules(.everywhere, in: VaultName("kv9"))
    }
  }
}
