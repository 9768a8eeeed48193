import KeyCustody
import Testing

@testable import KeyCustodyAzureKeyVault

@Suite("What a vault's provider reads")
struct SettingsTests {
  private static let usual: [String: ConfigurationValue] = [
    "plugin": "azure-key-vault", "vault": "https://kv1.vault.test", "authority": "https://login.vault.test/contoso",
    "clientID": "client", "clientSecretFile": "secret",
  ]

  @Test("Addresses are read in one way, or not at all")
  func addresses() throws {
    let address = try #require(WebAddress("HTTPS://Kv1.Vault.test:8443/a/B/"))
    #expect(address.text == "https://kv1.vault.test:8443/a/B" && address.authority == "kv1.vault.test:8443")
    #expect(WebAddress("https://kv1.vault.test:443")?.origin == "https://kv1.vault.test")
    #expect(WebAddress("http://127.0.0.1:80/msi")?.authority == "127.0.0.1")
    for text in [
      "", "kv1.vault.test", "ftp://kv1.vault.test", "https://", "https:///x", "https://a b", "https://u@kv1.vault.test",
      "https://kv1.vault.test:0", "https://kv1.vault.test:08443", "https://kv1.vault.test:99999", "https://kv1..test",
      "https://kv1.vault.test/../x", "https://kv1.vault.test/?x", "https://kv1.vault.test/#x", "https://kv1.vault.tést",
      "https://kv1.vault.test/%2e", "https://kv1.vault.test\\x",
    ] { #expect(WebAddress(text) == nil, "\(text)") }
    for (host, isLocal) in [
      ("127.0.0.1", true), ("127.9.9.9", true), ("169.254.169.254", true), ("localhost", true), ("10.0.0.1", false),
      ("127.0.0.1.test", false), ("localhost.test", false),
    ] { #expect(WebAddress("http://\(host)")?.isLocal == isLocal, "\(host)") }
  }

  @Test("A vault asks for tokens of its own domain alone, port included")
  func resources() throws {
    for (vault, resource, fits) in [
      ("https://kv1.vault.azure.net", "https://vault.azure.net", true),
      ("https://kv1.vault.test:8443", "https://vault.test:8443", true),
      ("https://kv1.vault.test:8443", "https://vault.test", false),
      ("https://kv1.vault.test", "https://vault.test:8443", false),
      ("https://kv1.vault.test", "https://ault.test", false), ("https://kv1.vault.test", "http://vault.test", false),
      ("https://kv1.vault.test", "https://vault.test/x", false),
      ("https://kv1.vault.test", "https://kv1.vault.test", true),
    ] {
      #expect(try #require(WebAddress(vault)).isWithin(resource: #require(WebAddress(resource))) == fits, "\(resource)")
    }
  }

  @Test("Challenges are read in the forms that vaults write")
  func challenges() throws {
    for header in [
      "Bearer authorization=\"https://login.test/t\", resource=\"https://vault.test\"",
      "bearer  authorization_uri=https://login.test/t,scope=https://vault.test/.default",
      "Bearer resource=\"https://vault.test\",authorization=\"https://login.test/t\"",
    ] {
      let challenge = try #require(Challenge(["Basic realm=\"x\"", header]), "\(header)")
      #expect(challenge.authority.text == "https://login.test/t" && challenge.resource.text == "https://vault.test")
    }
    for header in [
      "", "Bearer", "Basic authorization=\"https://login.test/t\", resource=\"https://vault.test\"",
      "Bearer authorization=\"login.test\", resource=\"https://vault.test\"", "Bearer resource=\"https://vault.test\"",
    ] { #expect(Challenge([header]) == nil, "\(header)") }
  }

  @Test(
    "A setting that is wrong is refused before anything is asked",
    arguments: [
      ["vault": "http://kv1.vault.test"], ["vault": "https://kv1.vault.test/keys"], ["vault": "kv1"],
      ["authority": "https://login.vault.test"], ["authority": "http://login.vault.test/contoso"], ["clientID": ""],
      ["clientID": "a b"], ["prefix": ""], ["prefix": "a_b"], ["prefix": .string(String(repeating: "a", count: 41))],
      ["protection": "none"], ["capabilities": ["aes-256"]], ["capabilities": ["rsa-1024"]],
      ["capabilities": []], ["timeout": 0], ["timeout": 601], ["symmetric": "yes"],
      ["clientSecretEnvironment": "SECRET"],
      ["identityEndpoint": "http://127.0.0.1/msi"], ["unknown": "x"],
    ] as [[String: ConfigurationValue]])
  func wrong(_ change: [String: ConfigurationValue]) async throws {
    let section = KeyCustodyConfiguration(Self.usual.merging(change) { $1 }).root
    do throws(KeyCustodyError) {
      _ = try await [AzureKeyVaultPlugin.plugin].openKeyProvider(section, RuntimeEnvironment())
      Issue.record("It opened.")
    } catch {
      #expect(error.code == .invalidInput && !error.remedy.isEmpty, "\(error)")
    }
  }

  @Test("The machine's own identity is asked over https, or on this machine")
  func identity() throws {
    for (endpoint, isGood) in [
      ("http://127.0.0.1:41741/msi/token/", true), ("https://identity.test/token", true),
      ("http://identity.test/token", false), ("http://10.0.0.1/token", false),
    ] {
      let settings = AzureKeyVaultSettings(
        vault: "https://kv1.vault.test",
        credential: .managedIdentity(endpoint: endpoint, header: .environment("HEADER"), clientID: nil))
      let checked = try? settings.checked()
      #expect((checked != nil) == isGood, "\(endpoint)")
    }
  }

  @Test("Names stand for versions, and labels come back")
  func names() throws {
    let version = try KeyVersionID("00112233445566778899aabbccddeeff")
    #expect(Naming.name(version, prefix: "kc") == "kc-00112233445566778899aabbccddeeff")
    #expect(Naming.version("KC-00112233445566778899AABBCCDDEEFF", prefix: "kc") == version)
    for name in ["kc-", "kc-0011", "other-00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff"] {
      #expect(Naming.version(name, prefix: "kc") == nil, "\(name)")
    }
    for label in ["", "a label", "Schlüssel 🔑", "line\nbreak", "\u{0}"] {
      let request = GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing, label: label)
      #expect(Naming.label(Naming.tags(request, .generated, mark: "m")) == label)
    }
    for kid in [
      "https://kv1.vault.test/keys/a/b/c", "https://kv1.vault.test/secrets/a/b", "https://h/keys/a/..", "keys/a", "",
    ] {
      #expect(Naming.parts(of: kid) == nil, "\(kid)")
    }
  }
}
