#if ConfigurationSupport
  import Configuration
  import KeyCustody
  import Testing

  @Suite("Configuration through swift-configuration")
  struct ConfigReaderTests {
    @Test("S6: values of every kind are read through a ConfigReader")
    func kinds() throws {
      let reader = ConfigReader(
        provider: InMemoryProvider(values: [
          ["service", "keyProvider"]: "hsm",
          ["service", "leaseSeconds"]: 30,
          ["service", "verbose"]: true,
          ["keyProviders", "names"]: .init(.stringArray(["hsm", "files"]), isSecret: false),
        ]))
      let root = KeyCustodyConfiguration(reader: reader).root
      #expect(try root.section("service").requiredString("keyProvider") == "hsm")
      #expect(try root.section("service").integer("leaseSeconds", in: 0...900) == 30)
      #expect(try root.section("service").boolean("verbose") == true)
      #expect(try root.section("keyProviders").names() == ["hsm", "files"])
      #expect(try root.section("service").string("absent") == nil)
    }

    @Test("A missing value says what to set")
    func missing() throws {
      let root = KeyCustodyConfiguration(reader: ConfigReader(provider: InMemoryProvider(values: [:]))).root
      let error = #expect(throws: KeyCustodyError.self) { try root.section("service").requiredString("keyProvider") }
      #expect(error?.reason == .missingConfigurationKey)
      #expect(error?.remedy.contains("KEYCUSTODY_SERVICE_KEY_PROVIDER") == true)
    }
  }
#endif
