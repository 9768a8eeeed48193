#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyServedVaults
  import KeyCustodyTestSupport
  import KeyCustodyTesting
  import KeyCustodyVault
  import Testing

  @testable import KeyCustodyAzureKeyVault

  /// What others do in the vault that a provider uses, and how it is told.
  @Suite("A provider on a vault that others have a say in", .timeLimit(.minutes(10)))
  struct VaultTests {
    private let folder: TemporaryFolder
    private let served: ServedVaults

    init() async throws {
      folder = try TemporaryFolder()
      served = try await ServedVaults.shared()
    }

    private func open(
      purgeProtection: Bool = false, _ adjust: (inout AzureKeyVaultSettings) -> Void = { _ in }
    ) async throws -> (vault: String, provider: AzureKeyVaultProvider) {
      var (vault, settings) = try await served.vault(in: folder, purgeProtection: purgeProtection)
      adjust(&settings)
      return (vault, try await AzureKeyVaultProvider.open(settings, environment: RuntimeEnvironment()))
    }

    @Test("The configuration's plugin opens a vault")
    func plugin() async throws {
      let (vault, settings) = try await served.vault(in: folder)
      let section = KeyCustodyConfiguration([
        "plugin": "azure-key-vault", "vault": .string(settings.vault.uppercased()),
        "authority": .string("https://login.vault.test:\(served.bench.port)/contoso"), "clientID": "client",
        "clientSecretFile": "secret", "caFile": "ca.pem", "capabilities": ["ec-p256"],
      ]).root
      let environment = RuntimeEnvironment(baseDirectory: folder.path)
      var read = try AzureKeyVaultPlugin.settings(section, environment)
      #expect(read.types == [.ec(.p256)] && read.timeout == .seconds(30) && read.prefix == "kc")
      // No name resolves to a test's vault: by its own plugin it is asked for, and not found.
      await #expect(throws: KeyCustodyError.like(.unavailable, .unreachable)) {
        _ = try await [AzureKeyVaultPlugin.plugin].openKeyProvider(section, environment)
      }
      read.hosts = settings.hosts
      let provider = try await AzureKeyVaultProvider.open(read, environment: environment)
      #expect(provider.identity.description == "azure-key-vault:\(vault).vault.test:\(served.bench.port)")
      #expect(provider.capabilities.findings[.generate(.ec(.p256))] == .declared)
      #expect(!provider.capabilities.offers(.generate(.rsa(bits: 2048))))
      await provider.close()
    }

    @Test("The machine's own identity opens a vault, and a wrong header does not")
    func managedIdentity() async throws {
      let header = try folder.write(Array(VaultBench.identityHeader.utf8), to: "header")
      let wrong = try folder.write(Array("another-header-of-no-use".utf8), to: "wrong")
      let endpoint = "http://127.0.0.1:\(served.identityPort)/msi/token"
      let (_, provider) = try await open {
        $0.credential = .managedIdentity(endpoint: endpoint, header: .file(header), clientID: nil)
      }
      let key = try await provider.make()
      #expect(try await provider.sign(with: key).count == 64)
      await provider.close()
      await #expect(throws: KeyCustodyError.like(.credentialRejected, .wrongSecret)) {
        _ = try await open { $0.credential = .managedIdentity(endpoint: endpoint, header: .file(wrong), clientID: nil) }
      }
    }

    @Test("A permission that is taken away is denied, and the others go on")
    func denied() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      try await served.bench.grant("contoso/client", [.get, .list], in: vault)
      await #expect(throws: KeyCustodyError.like(.denied, KeyCustodyError.Reason("access-denied"))) {
        _ = try await provider.sign(with: key)
      }
      #expect(try await provider.look(key.version) == key)
      await #expect(throws: KeyCustodyError.like(.denied, KeyCustodyError.Reason("access-denied"))) {
        _ = try await provider.make()
      }
      await #expect(throws: KeyCustodyError.like(.denied, KeyCustodyError.Reason("access-denied"))) {
        try await provider.destroy(key)
      }
      await provider.close()
    }

    @Test("A key that is switched off is disabled, and works when it is on again")
    func disabled() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      let path = "/keys/kc-\(key.version)/"
      for isEnabled in [false, true] {
        let patched = await served.bench.send(
          .patch, path, ["attributes": ["enabled": .bool(isEnabled)]], vault: vault)
        #expect(patched.status == 200)
        if isEnabled {
          _ = try await provider.sign(with: key)
        } else {
          await #expect(throws: KeyCustodyError.like(.disabled, KeyCustodyError.Reason("key-disabled"))) {
            _ = try await provider.sign(with: key)
          }
        }
        #expect(try await provider.look(key.version) == key)
      }
      await provider.close()
    }

    @Test("An operation that was taken out of a key is refused as one that the key was not made for")
    func operations() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      let patched = await served.bench.send(
        .patch, "/keys/kc-\(key.version)/", ["key_ops": ["verify"]], vault: vault)
      #expect(patched.status == 200)
      await #expect(throws: KeyCustodyError.like(.invalidInput, .wrongKeyType)) {
        _ = try await provider.sign(with: key)
      }
      await provider.close()
    }

    @Test("A key that somebody else deleted is not found, told as gone, and there again once it is recovered")
    func deleted() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      _ = try await provider.sign(with: key)
      var events = provider.events().makeAsyncIterator()
      #expect(await served.bench.send(.delete, "/keys/kc-\(key.version)", vault: vault).status == 200)
      await #expect(throws: KeyCustodyError.like(.notFound, .keyVersionUnknown)) {
        _ = try await provider.sign(with: key)
      }
      #expect(await events.next() == .keyGone(key.version))
      let again = GenerateKeyRequest(version: key.version, type: key.type, role: key.role)
      await #expect(throws: KeyCustodyError.like(.invalidInput, .alreadyExists)) {
        _ = try await provider.generate(again, context: CallContext(purpose: .administration))
      }
      #expect(await served.bench.send(.post, "/deletedkeys/kc-\(key.version)/recover", vault: vault).status == 200)
      #expect(try await provider.look(key.version) == key)
      _ = try await provider.sign(with: key)
      await provider.close()
    }

    @Test("Under purge protection a destroyed key is deleted, and its name stays taken")
    func purgeProtection() async throws {
      let (vault, provider) = try await open(purgeProtection: true)
      let key = try await provider.make()
      try await provider.destroy(key)
      await #expect(throws: KeyCustodyError.like(.notFound, .keyVersionUnknown)) {
        _ = try await provider.look(key.version)
      }
      #expect(try await provider.versions(after: nil, limit: 10).isEmpty)
      #expect(await served.bench.send(.get, "/deletedkeys/kc-\(key.version)", vault: vault).status == 200)
      let again = GenerateKeyRequest(version: key.version, type: key.type, role: key.role)
      await #expect(throws: KeyCustodyError.like(.invalidInput, .alreadyExists)) {
        _ = try await provider.generate(again, context: CallContext(purpose: .administration))
      }
      await provider.close()
    }

    @Test("Without it a destroyed key is purged, and its name is free")
    func purged() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      try await provider.destroy(key)
      #expect(await served.bench.send(.get, "/deletedkeys/kc-\(key.version)", vault: vault).status == 404)
      let again = GenerateKeyRequest(version: key.version, type: key.type, role: key.role)
      let made = try await provider.generate(again, context: CallContext(purpose: .administration))
      #expect(made.version == key.version && made.fingerprint != key.fingerprint)
      await provider.close()
    }

    @Test("A version that somebody adds later is not used, and other keys of the vault are not listed")
    func laterVersions() async throws {
      let (vault, provider) = try await open()
      let key = try await provider.make()
      // Versions are told apart by the second that they were made in.
      try await Self.nextSecond()
      let added = await served.bench.send(
        .post, "/keys/kc-\(key.version)/create", ["kty": "EC", "key_ops": ["sign", "verify"]], vault: vault)
      #expect(added.status == 200)
      #expect(await served.bench.send(.post, "/keys/other/create", ["kty": "EC"], vault: vault).status == 200)
      #expect(await served.bench.send(.post, "/keys/kc-short/create", ["kty": "EC"], vault: vault).status == 200)
      #expect(await served.bench.versions(key.version, vault: vault).count == 2)
      #expect(try await provider.look(key.version) == key)
      try await provider.probe(key.version, context: CallContext(purpose: .probe))
      #expect(try await provider.versions(after: nil, limit: 10) == [key.version])
      await provider.close()
    }

    /// Waits until the wall clock shows the next second.
    private static func nextSecond() async throws {
      let second = SystemTime().now().seconds
      while SystemTime().now().seconds <= second { await Task.yield() }
    }

    @Test("More keys than a page has are listed all")
    func pages() async throws {
      let (_, provider) = try await open()
      var made: [KeyVersionID] = []
      for _ in 0..<30 { made.append(try await provider.make().version) }
      #expect(try await provider.versions(after: nil, limit: 100) == made.sorted())
      #expect(try await provider.versions(after: made.sorted()[27], limit: 100) == Array(made.sorted()[28...]))
      await provider.close()
    }

    @Test("A client that the authority does not know is refused at opening; nothing tells the secret")
    func refusedClient() async throws {
      let secret = "not-the-secret-3141592653"
      let file = try folder.write(Array(secret.utf8), to: "wrong-secret")
      let authority = "https://login.vault.test:\(served.bench.port)/contoso"
      do throws(KeyCustodyError) {
        _ = try await AzureKeyVaultProvider.open(
          try await settings(.clientSecret(authority: authority, clientID: "client", secret: .file(file))),
          environment: RuntimeEnvironment())
        Issue.record("It opened.")
      } catch {
        #expect(error == .like(.credentialRejected, .wrongSecret))
        #expect(!error.debugDescription.contains("3141592653"))
      }
    }

    private func settings(
      _ credential: AzureKeyVaultSettings.Credential
    ) async throws(KeyCustodyError) -> AzureKeyVaultSettings {
      do {
        var (_, settings) = try await served.vault(in: folder)
        settings.credential = credential
        return settings
      } catch { throw KeyCustodyError(.fault, .internalFault, "No vault was made: \(error)") }
    }
  }
#endif
