import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// V12: FIPS mode from the configuration.
///
/// Where no FIPS provider is installed, that is the refusal.
struct FIPSModeTests {
  private static func configuration(_ fips: String) -> [UInt8] {
    Array(
      """
      { \(fips)"keyProviders": { "keys": { "plugin": "memory" } }, "policyStores": { "records": { "plugin": "memory" } },
        "service": { "keyProvider": "keys", "policyStore": "records" } }
      """.utf8)
  }

  private static func doctor(
    _ fips: String, _ variables: [String: String]
  ) throws -> (status: Int32, output: String) {
    let folder = try TemporaryFolder()
    let path = try folder.write(configuration(fips), to: "keycustody.json")
    return try Executable("keycustody").run(["doctor", "--config", path], variables)
  }

  @Test(
    "V12: without a FIPS provider nothing starts in FIPS mode, and it is said what is missing and who can change it",
    arguments: [
      // By the configuration, by its variable, and whatever OpenSSL's own configuration activates instead.
      (#""fips": true, "#, [:]), ("", ["KEYCUSTODY_FIPS": "true"]), (#""fips": false, "#, ["KEYCUSTODY_FIPS": "true"]),
      (#""fips": true, "#, ["OPENSSL_CONF": "/dev/null"]),
    ])
  func refusal(fips: String, variables: [String: String]) throws {
    // A folder without providers: also a machine that has one is refused here.
    let folder = try TemporaryFolder()
    let (status, output) = try Self.doctor(fips, variables.merging(["OPENSSL_MODULES": folder.path]) { $1 })
    #expect(status != 0)
    for text in ["no-fips-provider", "fips.so", folder.path, "administrator", "openssl fipsinstall", "OPENSSL_CONF"] {
      #expect(output.contains(text), "no '\(text)' in: \(output)")
    }
    #expect(!output.contains("key provider 'keys'"), "a backend was opened all the same")
  }

  @Test("V12: a provider beside 'fips' and 'base' is refused, not ignored")
  func strangers() throws {
    let folder = try TemporaryFolder()
    let settings = """
      openssl_conf = init
      [init]
      providers = providers
      [providers]
      default = active
      [active]
      activate = 1

      """
    let path = try folder.write(Array(settings.utf8), to: "openssl.cnf")
    let (status, output) = try Self.doctor(#""fips": true, "#, ["OPENSSL_CONF": path])
    #expect(status != 0)
    #expect(output.contains("no-fips-provider"), "\(output)")
  }

  @Test("V12: outside FIPS mode doctor says so, and which module works")
  func standard() throws {
    for fips in ["", #""fips": false, "#] {
      let (status, output) = try Self.doctor(fips, [:])
      #expect(status == 0, "\(output)")
      #expect(output.contains("OpenSSL Default Provider") && output.contains("outside FIPS mode"), "\(output)")
    }
  }

  @Test("V12: a value of 'fips' that is neither true nor false is refused", arguments: ["1", "yes", "TRUE"])
  func badValue(text: String) throws {
    let (status, output) = try Self.doctor("", ["KEYCUSTODY_FIPS": text])
    #expect(status != 0)
    #expect(output.contains("'KEYCUSTODY_FIPS' must be true or false"), "\(output)")
  }

  @Test("V12: one process has one mode: an opening that asks for the other is refused, one that asks for none is not")
  func oneMode() async throws {
    func open(_ fips: String, _ environment: RuntimeEnvironment = RuntimeEnvironment()) async throws {
      let configuration = try KeyCustodyConfiguration(json: Self.configuration(fips))
      await (try await KeyCustody.open(configuration, plugins: [MemoryPlugin().plugin], environment: environment))
        .close()
    }
    let (own, other) = FIPSRun.isOn ? ("true", "false") : ("false", "true")
    try await open("")
    try await open("\"fips\": \(own), ")
    #expect(KeyCustody.cryptographicModule.isFIPS == FIPSRun.isOn)
    let error = try await #require(throws: KeyCustodyError.self) { try await open("\"fips\": \(other), ") }
    #expect(error.reason.rawValue == "cryptography-mode")
    guard FIPSRun.isOn else { return }
    // Keys must come from the module's generator.
    let foreign = RuntimeEnvironment(random: SeededRandom(seed: 1))
    let refused = try await #require(throws: KeyCustodyError.self) { try await open("", foreign) }
    #expect(refused.reason.rawValue == "cryptography-mode")
  }
}
