import KeyCustody
import Testing

@testable import KeyCustodyPKCS11

@Suite("Settings, read before anything is touched")
struct SettingsTests {
  static let good: [String: ConfigurationValue] = [
    "plugin": "pkcs11", "module": "/nowhere/module.so", "token": "pkcs11:token=t;serial=1", "pinFile": "/nowhere/pin",
  ]

  /// What opening says: nothing of these settings exists, so `unavailable` means that all of them were taken.
  static func answer(_ changes: [String: ConfigurationValue], without: String? = nil) async -> KeyCustodyError? {
    var settings = good.merging(changes) { _, new in new }
    if let without { settings[without] = nil }
    let section = KeyCustodyConfiguration(["hsm": .section(settings)]).root.section("hsm")
    do throws(KeyCustodyError) {
      _ = try await [PKCS11Plugin.plugin].openKeyProvider(section, RuntimeEnvironment())
    } catch { return error }
    return nil
  }

  @Test("Settings that are right get as far as the missing module")
  func right() async {
    let bad = KeyCustodyError(.unavailable, .unreachable, "")
    #expect(await Self.answer([:]) == bad)
    #expect(await Self.answer(["sessions": 64, "emulate": ["RSA-OAEP-256"]]) == bad)
    #expect(await Self.answer(["token": "pkcs11:model=a;manufacturer=b"]) == bad)
  }

  @Test(
    "What is wrong is refused, naming it",
    arguments: [
      (["sessions": 0], "sessions"), (["sessions": 65], "sessions"), (["emulate": ["RSA1_5"]], "RSA1_5"),
      (["module": "libsofthsm2.so"], "absolute"), (["module": "./lib.so"], "absolute"),
      (["pinEnvironment": "PIN"], "pinFile"),
      (["token": "pkcs11:token=a?pin-value=1234"], "PIN"), (["token": "pkcs11:token=a?pin-source=/x"], "PIN"),
      (["token": "pkcs11:token=a?module-path=/x"], "module"), (["token": "pkcs11:token=a?module-name=x"], "module"),
      (["token": "pkcs11:token=a;library-manufacturer=x"], "module"),
      (["token": "pkcs11:token=a;library-version=2"], "module"),
      (["token": "pkcs11:token=a;slot-id=3"], "slot"), (["token": "pkcs11:token=a;slot-description=x"], "slot"),
      (["token": "pkcs11:token=a;object=x"], "attributes"), (["token": "pkcs11:token=a;id=%01"], "attributes"),
      (["token": "pkcs11:token=a;x-odd=1"], "attributes"), (["token": "pkcs11:"], "no token"),
      (["token": "token=a"], "URI"), (["token": "pkcs11:token=%zz"], "URI"),
    ] as [([String: ConfigurationValue], String)])
  func wrong(_ changes: [String: ConfigurationValue], _ word: String) async throws {
    let error = try #require(await Self.answer(changes))
    #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""), "\(error)")
    #expect(error.message.contains(word), "\(error)")
    #expect(!error.debugDescription.contains("1234"))
  }

  @Test("A key that nothing reads is refused, and the nearest known one named")
  func unknownKey() async throws {
    let error = try #require(await Self.answer(["sesions": 3]))
    #expect(error == KeyCustodyError(.invalidInput, .unknownConfigurationKey, ""))
    #expect(error.remedy.contains("sessions"))
  }

  @Test("What must be given is missed by name", arguments: ["module", "token", "pinFile"])
  func missing(_ key: String) async throws {
    let error = try #require(await Self.answer([:], without: key))
    #expect(error == KeyCustodyError(.invalidInput, .missingConfigurationKey, ""))
    #expect("\(error)".contains(key))
  }

  @Test("A store must name its lock file")
  func lockFile() async throws {
    let section = KeyCustodyConfiguration(["s": .section(Self.good)]).root.section("s")
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await [PKCS11Plugin.plugin].openPolicyStore(section, RuntimeEnvironment())
    }
    #expect(error == KeyCustodyError(.invalidInput, .missingConfigurationKey, ""))
    #expect(error?.message.contains("lockFile") == true)
  }
}
