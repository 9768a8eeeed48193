import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What is special to the directory; what every identity provider does is in the conformance kit.
struct DirectoryTests {
  private let clock = ManualClock()
  private let store: MemoryPolicyStore
  private let signer: MemoryKeyProvider
  private let owner: PrincipalID
  private let audience = "https://vault.test"

  init() async throws {
    store = try MemoryPolicyStore()
    signer = try await MemoryKeyProvider(environment: RuntimeEnvironment(time: clock))
    owner = try PrincipalID("contoso/owner")
  }

  private func open(
    _ store: (any PolicyStore)? = nil, signer other: (any KeyProvider)? = nil
  ) async throws -> DirectoryIdentityProvider {
    try await DirectoryIdentityProvider(
      store: store ?? self.store, signer: other ?? signer, issuer: "https://vault.test/directory",
      environment: RuntimeEnvironment(time: clock))
  }

  @Test("I4: secrets stand in the store only as salted hashes, two of the same secret unalike")
  func noSecretsStored() async throws {
    let directory = try await open()
    try await directory.create(owner, kind: .servicePrincipal)
    var secrets: [String] = []
    for _ in 0..<3 { secrets.append(try await directory.issueClientSecret(for: owner, expires: nil)) }
    for slot in APIKeySlot.allCases { secrets.append(try await directory.regenerateAPIKey(slot, for: owner)) }
    secrets.append(try await directory.issueToken(for: owner, audience: audience, lifetime: .seconds(60)))
    let records = try await store.list(prefix: "", after: nil, limit: 1000)
    #expect(records.count == 2, "the principal and the signing key")
    let text = records.map { String(decoding: $0.value, as: UTF8.self) }.joined()
    #expect(text.contains("salt"))
    for secret in secrets {
      let random = secret.split(separator: ".").last.map(String.init) ?? ""
      #expect(random.count >= 43, "at least 256 bits")
      let bytes = [UInt8](base64URL: random) ?? []
      for form in [random, secret, bytes.hexadecimal, Data(bytes).base64EncodedString()] {
        #expect(!text.contains(form.prefix(16)))
      }
    }
    let one = try SecretHash("same", expires: nil, random: SystemRandom())
    let two = try SecretHash("same", expires: nil, random: SystemRandom())
    #expect(one.hash != two.hash && one.salt != two.salt && one.salt.count == 32)
  }

  @Test("I4: a token says exactly what it must, and is signed by the provider's key")
  func claims() async throws {
    let directory = try await open()
    try await directory.create(owner, kind: .user)
    let token = try await directory.issueToken(for: owner, audience: audience, lifetime: .seconds(300))
    let parts = token.split(separator: ".")
    let now = clock.now().seconds
    let header = try JSONDecoder().decode([String: String].self, from: Self.bytes(parts[0]))
    let key = try #require(
      try await RecordView<TokenAuthority.SigningKey>(store).read(RecordKey("directory/signing-key")))
    #expect(header == ["alg": "ES256", "kid": key.version.description, "typ": "JWT"])
    let claims = try #require(TokenAuthority.Claims(try JSON(Array(Self.bytes(parts[1])))))
    let record = try #require(
      try await RecordView<DirectoryRecord>(store).read(RecordKey("directory/principals/contoso/owner")))
    #expect(claims.iss == "https://vault.test/directory/contoso/v2.0" && claims.aud == audience)
    #expect(claims.iat == now && claims.nbf == now && claims.exp == now + 300)
    #expect(claims.sub == "owner" && claims.tid == "contoso" && claims.oid == record.objectID)
    #expect(claims.jti.count == 32)
    let names = try JSONDecoder().decode([String: AnyClaim].self, from: Self.bytes(parts[1])).keys
    #expect(
      Set(names) == ["iss", "aud", "iat", "nbf", "exp", "sub", "tid", "oid", "jti", "appid", "azp", "ver"],
      "and nothing else")
    let again = try await directory.issueToken(for: owner, audience: audience, lifetime: .seconds(300))
    #expect(again.split(separator: ".")[1] != parts[1], "each token has an identifier of its own")
    let caller = try await directory.authenticate(.token(token), audience: audience)
    #expect(caller.id == owner && caller.kind == .user && caller.method == .token)
    #expect(caller.expires == Timestamp(seconds: now + 300) && caller.restrictedTo == nil)
  }

  @Test("I1: a principal made anew under an old name has none of the old one's credentials")
  func reusedName() async throws {
    let directory = try await open()
    try await directory.create(owner, kind: .user)
    let token = try await directory.issueToken(for: owner, audience: audience, lifetime: .seconds(3600))
    let secret = try await directory.issueClientSecret(for: owner, expires: nil)
    let key = try await directory.regenerateAPIKey(.first, for: owner)
    try await directory.delete(owner)
    try await directory.create(owner, kind: .user)
    let rejected = error(.credentialRejected, .wrongSecret)
    await #expect(throws: rejected) { try await directory.authenticate(.token(token), audience: audience) }
    await #expect(throws: rejected) {
      try await directory.authenticate(
        .clientSecret(owner, SecretBytes(copying: Array(secret.utf8))), audience: audience)
    }
    await #expect(throws: rejected) {
      try await directory.authenticate(.apiKey(SecretBytes(copying: Array(key.utf8))), audience: audience)
    }
    let fresh = try await directory.issueToken(for: owner, audience: audience, lifetime: .seconds(60))
    #expect(try await directory.authenticate(.token(fresh), audience: audience).id == owner)
  }

  @Test("I4: openings at once, on one store, agree on one signing key")
  func bootstrapRace() async throws {
    let directories = try await withThrowingTaskGroup(of: DirectoryIdentityProvider.self) { group in
      for _ in 0..<8 { group.addTask { try await open() } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(try await signer.inventory?.versions(after: nil, limit: 10).count == 1)
    try await directories[0].create(owner, kind: .user)
    for issuer in directories {
      let token = try await issuer.issueToken(for: owner, audience: audience, lifetime: .seconds(60))
      for verifier in directories {
        #expect(try await verifier.authenticate(.token(token), audience: audience).id == owner)
      }
    }
  }

  @Test("I4: making the signing key survives a fault at every step, with one key in the end")
  func bootstrapFaults() async throws {
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let (store, signer) = (
          try MemoryPolicyStore(), try await MemoryKeyProvider(environment: RuntimeEnvironment(time: clock))
        )
        let plan = FaultPlan<FaultingPolicyStore.Operation>()
        plan.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        let failed = await failure { _ = try await open(FaultingPolicyStore(store, plan: plan), signer: signer) }
        guard plan.calls(of: .compareAndSet) >= call else { break }
        #expect(failed != nil)
        _ = try await open(store, signer: signer)
        #expect(try await signer.inventory?.versions(after: nil, limit: 10).count == 1, "\(call) \(moment)")
      }
    }
    let (store, signer) = (
      try MemoryPolicyStore(), try await MemoryKeyProvider(environment: RuntimeEnvironment(time: clock))
    )
    let plan = FaultPlan<FaultingKeyProvider.Operation>()
    plan.fail(.generate, call: 1, .after, with: lost)
    await #expect(throws: lost) { _ = try await open(store, signer: FaultingKeyProvider(signer, plan: plan)) }
    _ = try await open(store, signer: signer)
    #expect(try await signer.inventory?.versions(after: nil, limit: 10).count == 1)
  }

  @Test("I4: another signer behind the same configuration is refused, and named")
  func swappedSigner() async throws {
    _ = try await open()
    let other = try await MemoryKeyProvider(environment: RuntimeEnvironment(time: clock))
    let refused = await failure { _ = try await open(signer: other) }
    #expect(refused?.reason == .backendMismatch)
    #expect(refused?.message.contains(signer.identity.description) == true)
    #expect(refused?.remedy.contains("identity.keyProvider") == true)
    #expect(try await other.inventory?.versions(after: nil, limit: 10).isEmpty == true)
  }

  @Test("I3: whoever keeps something by an identity is told that it is off, also when the answer is lost")
  func observers() async throws {
    let plan = FaultPlan<FaultingPolicyStore.Operation>()
    let directory = try await open(FaultingPolicyStore(store, plan: plan))
    try await directory.create(owner, kind: .user)
    let seen = Seen<IdentityEvent>()
    directory.observers.add { seen.add($0) }
    try await directory.setEnabled(false, owner)
    try await directory.setEnabled(true, owner)
    #expect(seen.all == [.disabled(owner), .enabled(owner)])
    plan.failNext(.compareAndSet, .after, with: lost)
    await #expect(throws: lost) { try await directory.setEnabled(false, owner) }
    #expect(seen.all.last == .disabled(owner))
    plan.failNext(.delete, .after, with: lost)
    await #expect(throws: lost) { try await directory.delete(owner) }
    #expect(seen.all.last == .deleted(owner))
  }

  @Test("I4: a directory keeps at most 8 client secrets that live, and forgets those that ran out")
  func secretLimit() async throws {
    let directory = try await open()
    try await directory.create(owner, kind: .user)
    for _ in 0..<8 {
      _ = try await directory.issueClientSecret(for: owner, expires: clock.now() + .seconds(60))
    }
    let full = await failure { _ = try await directory.issueClientSecret(for: owner, expires: nil) }
    #expect(full?.code == .invalidInput && full?.remedy.isEmpty == false)
    clock.advance(by: .seconds(60))
    _ = try await directory.issueClientSecret(for: owner, expires: nil)
  }

  private static func bytes(_ part: Substring) -> Data { Data([UInt8](base64URL: part) ?? []) }
}

/// Any value of a claim.
private struct AnyClaim: Decodable {
  init(from decoder: any Decoder) throws {}
}
