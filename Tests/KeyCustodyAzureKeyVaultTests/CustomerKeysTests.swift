#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyMemory
  import KeyCustodyServices
  import KeyCustodyServedVaults
  import KeyCustodyTestSupport
  import KeyCustodyTesting
  import KeyCustodyVault
  import Testing

  @testable import KeyCustodyAzureKeyVault

  /// A service whose customers' keys are in vaults over HTTPS (SEMANTICS E4, E5, E7, E8).
  @Suite("Customers' keys over HTTPS", .timeLimit(.minutes(10)))
  struct CustomerKeysTests {
    /// A service in memory, and a customer with a vault that is served.
    private struct Bench {
      let clock = ManualClock()
      let audit = RecordingAuditSink()
      let served: VaultBench
      let name: String
      let custody: KeyCustody
      let notes: ProtectedResource
      private let folder: TemporaryFolder

      init(
        profile: Profile? = nil, place: [String: ConfigurationValue] = [:],
        more: [[String: ConfigurationValue]] = [], purgeProtection: Bool = true,
        resourceTenant: String = "contoso", front: FrontedVaults? = nil, time: (any TimeSource)? = nil, lease: Int = 60
      ) async throws {
        folder = try TemporaryFolder()
        let vault: AzureKeyVaultSettings
        if let front {
          (served, name, vault) = (front.bench, front.vault, front.settings)
        } else {
          served = try await ServedVaults.shared().bench
          (name, vault) = try await ServedVaults.shared().vault(in: folder, purgeProtection: purgeProtection)
        }
        try await served.grant("contoso/client", [.get, .wrapKey, .unwrapKey], in: name)
        guard case .clientSecret(_, let clientID, let secret) = vault.credential, case .file(let secretFile) = secret
        else { throw KeyCustodyError(.fault, .internalFault, "The vault has another credential.") }
        let section: [String: ConfigurationValue] = [
          "plugin": "azure-key-vault", "domain": .string("vault.test:\(served.port)"),
          "authority": .string("https://login.vault.test:\(served.port)/{tenant}"), "clientID": .string(clientID),
          "clientSecretFile": .string(secretFile), "caFile": .string(vault.caFile ?? ""),
        ]
        let hosts = vault.hosts
        let plugin = Plugin(
          name: AzureKeyVaultPlugin.name,
          customerKeySource: { (section, environment) throws(KeyCustodyError) in
            var settings = try AzureKeyVaultPlugin.keysSettings(section, environment)
            settings.hosts = hosts
            let found = settings
            return { () async throws(KeyCustodyError) in try AzureKeyVaultKeys(found, environment: environment) }
          })
        custody = try await KeyCustody.open(
          KeyCustodyConfiguration([
            "keyProviders": ["own": ["plugin": "memory"]], "policyStores": ["state": ["plugin": "memory"]],
            "customerKeys": .section(
              Dictionary(
                uniqueKeysWithValues: ([place] + more).enumerated().map { index, place in
                  (index == 0 ? "theirs" : "more-\(index)", .section(section.merging(place) { $1 }))
                })),
            "service": [
              "keyProvider": "own", "policyStore": "state", "region": "north", "leaseSeconds": .integer(lease),
            ],
            "vaults": ["domain": "service.test"],
          ]),
          plugins: [MemoryPlugin().plugin, plugin], audit: audit,
          environment: RuntimeEnvironment(time: time ?? clock))
        notes = try await custody.createResource(
          ResourceID("notes"), tenant: TenantID(resourceTenant), profile: profile)
        try await notes.switchIdentityOn()
      }

      func uri(_ key: String) throws -> KeyURI {
        try KeyURI("https://\(name).vault.test:\(served.port)/keys/\(key)")
      }

      /// Makes a version of a key in the customer's vault.
      @discardableResult
      func makeKey(_ key: String = "notes", _ body: JSON = ["kty": "oct", "key_size": 256]) async throws -> KeyURI {
        let answer = await served.send(.post, "/keys/\(key)/create", body, vault: name)
        return try KeyURI(try #require(answer.json?["key"]?["kid"]?.string, "\(answer)"))
      }

      func update(_ key: KeyURI, _ attributes: JSON) async throws {
        let path = "/keys/\(key.name)/\(try #require(key.version))"
        let answer = await served.send(.patch, path, ["attributes": attributes], vault: name)
        #expect(answer.status == 200)
      }

      func refusal(_ key: KeyURI) async -> KeyCustodyError? {
        let refused = await failure { try await notes.enableCustomerKey(key, converting: []) }
        #expect(refused == nil || refused?.remedy.isEmpty == false, "it says what to do: \(refused.debugDescription)")
        return refused
      }

      /// What opening a value says once the lease is over.
      func opening(_ sealed: [UInt8]) async -> KeyCustodyError? {
        clock.advance(by: .seconds(61))
        return await failure {
          let opened = try await notes.open(sealed, as: "kept")
          #expect(opened == Array("kept".utf8))
        }
      }

      func seal() async throws -> [UInt8] { try await notes.seal(Array("kept".utf8), as: "kept") }
    }

    @Test("E1, E7, E8, E11: a key in a served vault is bound, taken away in every way and given back, updated and left")
    func life() async throws {
      let bench = try await Bench()
      let key = try await bench.makeKey()
      try await bench.notes.enableCustomerKey(bench.uri("notes"), converting: [])
      #expect(try await bench.notes.status().key == key, "E5: the newest version is taken, and kept")
      let sealed = try await bench.seal()
      #expect(await bench.opening(sealed) == nil)

      try await bench.update(key, ["enabled": false])
      #expect(await bench.opening(sealed) == .like(.disabled, .keyDisabled))
      #expect(try await bench.notes.status().health == .suspended(reason: "key-disabled"))
      try await bench.update(key, ["enabled": true])
      #expect(await bench.opening(sealed) == nil, "given back")

      for granted in [[], [.wrapKey, .unwrapKey], [.get, .wrapKey]] as [Set<KeyPermission>] {
        try await bench.served.grant("contoso/client", granted, in: bench.name)
        #expect(await bench.opening(sealed) == .like(.denied, .accessDenied))
      }
      try await bench.served.grant("contoso/client", [.get, .wrapKey, .unwrapKey], in: bench.name)
      #expect(await bench.opening(sealed) == nil)

      #expect(await bench.served.send(.delete, "/keys/notes", vault: bench.name).status == 200)
      #expect(await bench.opening(sealed)?.code == .notFound)
      #expect(await bench.served.send(.post, "/deletedkeys/notes/recover", vault: bench.name).status == 200)
      #expect(await bench.opening(sealed) == nil)

      let path = "/keys/notes/\(try #require(key.version))"
      for (operations, outcome) in [
        (["wrapKey"], KeyCustodyError.like(.denied, .keyOperationForbidden)), (["wrapKey", "unwrapKey"], nil),
      ] as [([JSON], KeyCustodyError?)] {
        await bench.served.send(.patch, path, ["key_ops": .array(operations)], vault: bench.name)
        #expect(await bench.opening(sealed) == outcome)
      }

      let end = bench.clock.now() + .seconds(100)
      try await bench.update(key, ["exp": .integer(end.seconds)])
      #expect(await bench.opening(sealed) == nil)
      #expect(await bench.opening(sealed) == .like(.disabled, .keyOutsideValidity), "which the wire lets unwrap")
      let last = bench.audit.events.last { $0.target == key.description }
      #expect(
        last?.action == "unwrapKey" && last?.error == "disabled/key-outside-validity", "V11: its refusal is recorded")
      try await bench.update(key, ["exp": .integer(end.seconds + 100_000_000)])
      #expect(await bench.opening(sealed) == nil)

      let newer = try await bench.makeKey()
      #expect(newer != key)
      try await bench.notes.updateCustomerKey(newer, converting: [])
      try await bench.update(key, ["enabled": false])
      #expect(await bench.opening(sealed) == nil, "E7: the older version is needed by nothing")
      await bench.custody.close()
    }

    @Test("E5: a profile that follows the newest version takes it over by itself")
    func follows() async throws {
      let bench = try await Bench(profile: try Profile.storage())
      try await bench.makeKey()
      try await bench.notes.enableCustomerKey(bench.uri("notes"), converting: [])
      let sealed = try await bench.seal()
      let newer = try await bench.makeKey()
      let report = try await bench.custody.upkeep()
      #expect(report.followed == 1)
      #expect(try await bench.notes.status().key == newer)
      #expect(await bench.opening(sealed) == nil)
      #expect(try await bench.custody.upkeep().followed == 0, "there is no newer one")
      await bench.custody.close()
    }

    @Test("E4, I5: each check has an error of its own, in their order, and changes nothing")
    func checks() async throws {
      let bench = try await Bench(
        profile: try Profile.openAI(), place: ["region": "north", "permissionModel": "access-policies"])
      try await bench.served.grant("contoso/client", [], in: bench.name)
      #expect(await bench.refusal(try bench.uri("none")) == .like(.denied, .grantRequired))
      try await bench.served.grant("contoso/client", [.get], in: bench.name)
      #expect(await bench.refusal(try bench.uri("none"))?.code == .notFound)
      try await bench.makeKey("symmetric")
      #expect(await bench.refusal(try bench.uri("symmetric")) == .like(.invalidInput, .wrongKeyType))
      try await bench.makeKey("signing", ["kty": "RSA", "key_ops": ["sign", "verify"]])
      #expect(await bench.refusal(try bench.uri("signing")) == .like(.invalidInput, .wrongKeyType))
      let good = try await bench.makeKey("good", ["kty": "RSA"])
      try await bench.update(good, ["enabled": false])
      #expect(await bench.refusal(good) == .like(.disabled, .keyDisabled))
      try await bench.update(good, ["enabled": true, "nbf": .integer(bench.clock.now().seconds + 100)])
      #expect(await bench.refusal(good) == .like(.disabled, .keyOutsideValidity))
      try await bench.update(good, ["nbf": .integer(bench.clock.now().seconds - 100)])
      for granted in [[.get, .wrapKey], [.get, .unwrapKey]] as [Set<KeyPermission>] {
        try await bench.served.grant("contoso/client", granted, in: bench.name)
        #expect(await bench.refusal(good)?.code == .denied, "the last check is real")
      }
      try await bench.served.grant("contoso/client", [.get, .wrapKey, .unwrapKey], in: bench.name)
      let vault = try VaultName(bench.name)
      try await bench.served.custody.vaults.setNetworkRules(
        .only([], trustedServicesBypass: false), in: vault)
      #expect(await bench.refusal(good) == .like(.denied, .networkRefused))
      try await bench.served.custody.vaults.setNetworkRules(.everywhere, in: vault)
      #expect(try await bench.notes.status().mode == .serviceManaged)
      #expect(await bench.refusal(good) == nil)
      await bench.custody.close()
    }

    @Test("E4: a vault without purge protection, of another tenant, or of no place that is known")
    func places() async throws {
      let open = try await Bench(purgeProtection: false)
      try await open.makeKey()
      #expect(await open.refusal(try open.uri("notes")) == .like(.invalidInput, .purgeProtectionRequired))
      let elsewhere = try KeyURI("https://\(open.name).elsewhere.test/keys/notes")
      #expect(await open.refusal(elsewhere) == .like(.notFound, .vaultUnknown))
      let deep = try KeyURI("https://\(open.name).a.vault.test:\(open.served.port)/keys/notes")
      #expect(await open.refusal(deep) == .like(.notFound, .vaultUnknown), "one label stands before the domain")
      await open.custody.close()

      let foreign = try await Bench(resourceTenant: "fabrikam")
      try await foreign.makeKey()
      #expect(await foreign.refusal(try foreign.uri("notes")) == .like(.denied, .otherTenant), "the vault says so")
      await foreign.custody.close()

      let named = try await Bench(place: ["tenant": "fabrikam"])
      try await named.makeKey()
      #expect(await named.refusal(try named.uri("notes")) == .like(.denied, .otherTenant), "the operator says so")
      await named.custody.close()
    }

    @Test("Of several sections for one domain, the tenant's own counts, and only for the vaults that it names")
    func sections() async throws {
      let bench = try await Bench(
        place: ["tenant": "fabrikam", "region": "south"],
        more: [["tenant": "contoso", "region": "north"], ["vaults": ["another"]]])
      try await bench.makeKey()
      #expect(await bench.refusal(try bench.uri("notes")) == nil)
      await bench.custody.close()
      let none = try await Bench(place: ["vaults": ["another"]])
      #expect(await none.refusal(try none.uri("notes")) == .like(.notFound, .vaultUnknown))
      await none.custody.close()
    }

    @Test("E8: a client that its tenant's directory lets in again works again, without a restart")
    func client() async throws {
      let front = try await FrontedVaults()
      try await front.bench.custody.vaults.enablePurgeProtection(VaultName(front.vault))
      let bench = try await Bench(front: front)
      try await bench.makeKey()
      let client = try PrincipalID("contoso/client")
      try await front.bench.custody.identities.setEnabled(false, client)
      #expect(await bench.refusal(try bench.uri("notes"))?.code == .credentialRejected)
      try await front.bench.custody.identities.setEnabled(true, client)
      #expect(await bench.refusal(try bench.uri("notes"))?.code == .credentialRejected, "not asked at once again")
      #expect(front.count("POST", "/oauth2/") == 1)
      bench.clock.advance(by: .seconds(30))
      #expect(await bench.refusal(try bench.uri("notes")) == nil)
      await bench.custody.close()
      try await front.stop()
    }

    @Test(
      "K11: what a gateway before the vault answers takes nothing away", arguments: [400, 403, 404],
      ["<html>no</html>", #"{"error":{"code":"BadGateway","message":"no"}}"#, #"{"error":"no"}"#, "{}", ""])
    func gateway(_ status: Int, _ body: String) async throws {
      let front = try await FrontedVaults()
      try await front.bench.custody.vaults.enablePurgeProtection(VaultName(front.vault))
      let bench = try await Bench(front: front)
      try await bench.makeKey()
      try await bench.notes.enableCustomerKey(bench.uri("notes"), converting: [])
      let sealed = try await bench.seal()
      for part in [("GET", "/keys/notes"), ("POST", "/unwrapkey")] {
        front.plan(.answer(status, body: Array(body.utf8)), part.0, part.1)
        #expect(await bench.opening(sealed) == .like(.unavailable, .badAnswer))
        #expect(await bench.opening(sealed) == nil)
      }
      await bench.custody.close()
      try await front.stop()
    }

    @Test("E8, K11: a vault that does not answer is an outage, no revocation, and leases outlast it")
    func outage() async throws {
      let front = try await FrontedVaults()
      try await front.bench.custody.vaults.enablePurgeProtection(VaultName(front.vault))
      // Repeats wait by the service's clock, so this one runs by itself.
      let bench = try await Bench(front: front, time: SystemTime(), lease: 1)
      try await bench.makeKey()
      try await bench.notes.enableCustomerKey(bench.uri("notes"), converting: [])
      let sealed = try await bench.seal()
      func fails() async throws -> KeyCustodyError {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
          do throws(KeyCustodyError) { _ = try await bench.notes.open(sealed, as: "kept") } catch { return error }
          await Task.yield()
        }
        throw KeyCustodyError(.timeout, .deadline, "It goes on to be opened.")
      }
      front.plan(.lost, "GET", "/keys/notes", times: .max)
      #expect(try await bench.notes.open(sealed, as: "kept") == Array("kept".utf8), "the lease outlasts it")
      #expect(try await fails() == .like(.unavailable, .unreachable))
      #expect(try await bench.notes.status().health == .unreachable(reason: "unreachable"))
      front.heal()
      #expect(try await bench.notes.open(sealed, as: "kept") == Array("kept".utf8))
      // Another key answers under the name of this: nothing of it is believed.
      let other = #"{"key":{"kid":"https://x/keys/other/00000000000000000000000000000000"}}"#
      front.plan(.answer(200, body: Array(other.utf8)), "GET", "/keys/notes", times: .max)
      #expect(try await fails() == .like(.unavailable, .badAnswer))
      await bench.custody.close()
      try await front.stop()
    }

    @Test("Settings that are wrong are refused, and name what to change")
    func settings() async throws {
      for (place, part) in [
        (["domain": "vault.test/x"], "'domain'"), (["domain": "a b.test"], "'domain'"),
        (["authority": "https://login.test"], "'authority'"), (["authority": "https://login.test/contoso"], "'tenant'"),
        (["caFile": "/nowhere/ca.pem"], "caFile"), (["timeout": 0], "timeout"),
        (["vault": "https://x.test"], "theirs.vault"),
        (["clientID": ""], "clientID"),
      ] as [([String: ConfigurationValue], String)] {
        let refused = await failure { await (try Bench(place: place)).custody.close() }
        #expect(refused?.code == .invalidInput)
        #expect(refused?.description.contains(part) == true, "\(refused.debugDescription)")
      }
    }
  }

  /// What a body throws, if it does.
  func failure(_ body: () async throws -> Void) async -> KeyCustodyError? {
    do { try await body() } catch { return error as? KeyCustodyError }
    return nil
  }
#endif
