#if AzureKeyVault
  import KeyCustody
  import KeyCustodyAzureKeyVault
  import KeyCustodyServedVaults
  import KeyCustodyTesting
  import Testing

  /// The contract of the protocol, run on vaults that this package serves over HTTPS.
  @Suite("The conformance kit over HTTPS", .timeLimit(.minutes(30)))
  struct ConformanceTests {
    /// AES is offered, and wrapping is the vault's: everything but backups, and longer RSA keys, which take long to make.
    private static let whole = ServedVaults.subject { settings in
      settings.symmetric = true
      settings.types = settings.types.filter { ![.rsa(bits: 3072), .rsa(bits: 4096)].contains($0) }
    }
    /// A vault of Azure's without HSM, used as little as possible: no AES, one size of RSA, wrapping on this host.
    private static let narrow = ServedVaults.subject { settings in
      settings.types = [.rsa(bits: 2048), .ec(.p256)]
      settings.wrapsOnHost = true
    }

    @Test("Keys in a vault, AES among them", arguments: KeyProviderConformance.all)
    func wholeVault(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
      let result = try await behavior.run(Self.whole)
      let hasNoSubject = [
        "A signature algorithm that is not offered", "Import that is not offered",
        "A backup brings a destroyed key back", "A damaged backup is refused",
      ]
      #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
    }

    @Test("Keys in a vault without AES, wrapped for on this host", arguments: KeyProviderConformance.all)
    func narrowVault(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
      let result = try await behavior.run(Self.narrow)
      let hasNoSubject = [
        "A256KW wraps", "An algorithm that does not fit the key's type", "An imported AES key",
        "A backup brings a destroyed key back", "A damaged backup is refused", "Import that is not offered",
      ]
      #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
    }
  }
#endif
