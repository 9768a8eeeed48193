import KeyCustody
import Testing

@Suite("Configuration")
struct ConfigurationTests {
  private func read(_ text: String, _ environment: [String: String] = [:]) throws -> ConfigurationSection {
    try KeyCustodyConfiguration(json: [UInt8](utf8: text), environment: environment).root
  }

  @Test("Values of each kind are read from JSON")
  func kinds() throws {
    let root = try read(#"{"a": "text", "b": 7, "c": true, "d": ["x", "y"], "e": {"f": "deep"}, "g": []}"#)
    #expect(try root.string("a") == "text")
    #expect(try root.integer("b", in: 0...10) == 7)
    #expect(try root.boolean("c") == true)
    #expect(try root.strings("d") == ["x", "y"])
    #expect(try root.section("e").string("f") == "deep")
    #expect(try root.strings("g") == [])
    #expect(try root.string("none") == nil)
    #expect(try root.integer("none", in: 0...1) == nil)
    #expect(try root.boolean("none") == nil)
    #expect(try root.strings("none") == nil)
    #expect(try root.section("e").names() == ["f"])
    #expect(try root.section("e").exists())
    #expect(try !root.section("none").exists())
  }

  @Test(
    "Text that is not one JSON object of such values is refused",
    arguments: [
      "", "{", "[]", "7", "\"a\"", "null", "{\"a\": 1.5}", "{\"a\": null}", "{\"a\": [1]}", "{\"a\": [[\"b\"]]}",
      "{a: 1}",
    ])
  func malformed(_ text: String) {
    let error = #expect(throws: KeyCustodyError.self) {
      try KeyCustodyConfiguration(json: [UInt8](utf8: text), file: "the.json")
    }
    #expect(error == KeyCustodyError(.invalidInput, .malformed, ""))
    #expect(error?.message.contains("'the.json'") == true, "it names the file")
    #expect(error?.remedy.isEmpty == false)
  }

  @Test(
    "A value that no setting can have is told by its path and by what was found, in words of JSON",
    arguments: [
      (#"{"s": {"a": 1.5}}"#, "'s.a'", "not whole"), (#"{"s": {"a": 99999999999999999999}}"#, "'s.a'", "too large"),
      (#"{"s": {"a": null}}"#, "'s.a'", "null"), (#"{"s": {"a": ["x", 1]}}"#, "'s.a'", "item 2"),
      (#"{"s": {"a": [["x"]]}}"#, "'s.a'", "item 1"), (#"{"s": {"a": [{}]}}"#, "'s.a'", "item 1"),
      ("null", "configuration", "null"), ("1.5", "configuration", "not whole"), ("[]", "JSON object", "a list"),
      ("7", "JSON object", "a whole number"),
    ])
  func unfit(_ text: String, _ path: String, _ found: String) {
    let error = #expect(throws: KeyCustodyError.self) { try read(text) }
    #expect(error == KeyCustodyError(.invalidInput, .malformed, ""))
    let message = error?.message ?? ""
    #expect(message.contains(path) && message.contains(found), "\(message)")
    #expect(!message.contains("decod") && !message.contains("Dictionary"), "\(message)")
    #expect(error?.remedy.isEmpty == false)
  }

  @Test("A wrong or missing value is told with the file, what was found, and how it is written")
  func namesFile() throws {
    let text = #"{"text": "4711", "number": 4711, "flag": true, "list": ["4711"], "deep": {}}"#
    let root = try KeyCustodyConfiguration(json: [UInt8](utf8: text), file: "the.json").root
    func fails(_ found: String, _ change: String, _ body: () throws -> Void) {
      let error = #expect(throws: KeyCustodyError.self, performing: body)
      #expect(error?.message.contains("in 'the.json'") == true, "\(error?.message ?? "")")
      #expect(error?.message.hasSuffix("and is \(found).") == true, "\(error?.message ?? "")")
      #expect(error?.remedy.contains(change) == true, "\(error?.remedy ?? "")")
      #expect(found == "4711" || error?.description.contains("4711") == false, "it may be a secret in the wrong place")
    }
    fails("a whole number", "double quotes") { _ = try root.string("number") }
    fails("true", #""flag": "…""#) { _ = try root.string("flag") }
    fails("a list", "double quotes") { _ = try root.string("list") }
    fails("an object", "double quotes") { _ = try root.string("deep") }
    fails("a text", "without quotes") { _ = try root.integer("text", in: 0...9) }
    fails("4711", "within these bounds") { _ = try root.integer("number", in: 0...9) }
    fails("a text", "true or false") { _ = try root.boolean("text") }
    fails("a text", #""text": ["…"]"#) { _ = try root.strings("text") }
    fails("a text", "braces") { _ = try root.section("text").names() }
    let missing = #expect(throws: KeyCustodyError.self) { try root.requiredString("something else") }
    #expect(missing?.remedy.contains("'the.json'") == true)
    let unknown = #expect(throws: KeyCustodyError.self) {
      try KeyCustodyConfiguration(json: [UInt8](utf8: #"{"x": 1}"#), file: "the.json").root.refuseUnknownKeys()
    }
    #expect(unknown?.message.contains("'x' in 'the.json'") == true)
  }

  @Test("A value of the wrong kind is refused, and the message says where and what is due")
  func wrongKinds() throws {
    let root = try read(#"{"s": {"text": "x", "number": 7, "flag": true, "list": ["x"], "deep": {}}}"#).section("s")
    func fails(_ name: String, _ due: String, _ body: () throws -> Void) {
      let error = #expect(throws: KeyCustodyError.self, performing: body)
      #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""))
      #expect(error?.message.contains("'s.\(name)'") == true, "\(error?.message ?? "")")
      #expect(error?.message.contains(due) == true, "\(error?.message ?? "")")
    }
    for name in ["number", "flag", "list", "deep"] { fails(name, "a text") { _ = try root.string(name) } }
    for name in ["text", "flag", "list", "deep"] {
      fails(name, "a whole number from 1 to 9") { _ = try root.integer(name, in: 1...9) }
    }
    fails("number", "from 8 to 9") { _ = try root.integer("number", in: 8...9) }
    fails("number", "from 1 to 6") { _ = try root.integer("number", in: 1...6) }
    for name in ["text", "number", "list", "deep"] { fails(name, "true or false") { _ = try root.boolean(name) } }
    for name in ["text", "number", "flag", "deep"] { fails(name, "a list of texts") { _ = try root.strings(name) } }
  }

  @Test("A text where a section is due is refused, not taken for nothing")
  func valueInsteadOfSection() throws {
    let listed = try read(#"{"keyProviders": "memory"}"#)
    #expect(throws: KeyCustodyError(.invalidInput, .badConfigurationValue, "")) {
      try listed.section("keyProviders").names()
    }
    let root = try read(#"{"service": "memory"}"#)
    _ = try root.section("service").string("keyProvider")
    let error = #expect(throws: KeyCustodyError.self) { try root.refuseUnknownKeys() }
    #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""))
    #expect(error?.message.contains("'service'") == true)
  }

  @Test("A key that nothing reads is refused, naming the nearest known one")
  func unknownKey() throws {
    let section = try read(#"{"keyProviders": {"hsm": {"pinFlie": "x", "plugin": "pkcs11"}}}"#)
      .section("keyProviders").section("hsm")
    _ = try section.string("plugin")
    _ = try section.string("pinFile")
    _ = try section.string("module")
    let error = #expect(throws: KeyCustodyError.self) { try section.refuseUnknownKeys() }
    #expect(error == KeyCustodyError(.invalidInput, .unknownConfigurationKey, ""))
    #expect(error?.message.contains("'keyProviders.hsm.pinFlie'") == true)
    #expect(error?.remedy.contains("'keyProviders.hsm.pinFile'") == true)
  }

  @Test("A misspelt section is refused, and a key deep in a known one")
  func unknownDeep() throws {
    let root = try read(#"{"policyStores": {}, "keyProvider": {"a": {"b": "c"}}}"#)
    _ = root.section("keyProviders")
    _ = root.section("policyStores")
    let error = #expect(throws: KeyCustodyError.self) { try root.refuseUnknownKeys() }
    #expect(error?.message.contains("'keyProvider'") == true)
    #expect(error?.remedy.contains("'keyProviders'") == true)

    let deep = try read(#"{"one": {"two": {"three": "x"}}}"#)
    _ = deep.section("one").section("two")
    let below = #expect(throws: KeyCustodyError.self) { try deep.refuseUnknownKeys() }
    #expect(below?.message.contains("'one.two.three'") == true)
    #expect(below?.remedy == "Remove it.")
  }

  @Test("What was asked for is known, whether it was there or not")
  func knownKeys() throws {
    let root = try read(#"{"a": "x", "s": {"b": 1}}"#)
    _ = try root.string("a")
    _ = try root.string("absent")
    _ = try root.section("s").integer("b", in: 0...9)
    try root.refuseUnknownKeys()
  }

  @Test("A missing key's remedy names the file and the variable")
  func missingKey() throws {
    let section = try read("{}").section("keyProviders").section("hsm")
    let error = #expect(throws: KeyCustodyError.self) { try section.requiredString("modulePath") }
    #expect(error == KeyCustodyError(.invalidInput, .missingConfigurationKey, ""))
    #expect(error?.message.contains("'keyProviders.hsm.modulePath'") == true)
    #expect(error?.remedy.contains("KEYCUSTODY_KEY_PROVIDERS_HSM_MODULE_PATH") == true)
  }

  @Test("The environment wins over the file, for every kind of value")
  func environmentWins() throws {
    let root = try read(
      #"{"a": "file", "b": 1, "c": false, "d": ["file"]}"#,
      [
        "KEYCUSTODY_A": "variable", "KEYCUSTODY_B": "2", "KEYCUSTODY_C": "true", "KEYCUSTODY_D": "x,y",
        "KEYCUSTODY_E_F": "new", "A": "not ours", "PATH": "not ours",
      ])
    #expect(try root.string("a") == "variable")
    #expect(try root.integer("b", in: 0...9) == 2)
    #expect(try root.boolean("c") == true)
    #expect(try root.strings("d") == ["x", "y"])
    #expect(try root.section("e").string("f") == "new")
  }

  @Test("A bad value of the environment is refused by the variable's name")
  func badVariable() throws {
    let root = try read("{}", ["KEYCUSTODY_SESSIONS": "many", "KEYCUSTODY_STRICT": "perhaps"])
    for body in [{ _ = try root.integer("sessions", in: 1...9) }, { _ = try root.boolean("strict") }]
      as [() throws -> Void]
    {
      let error = #expect(throws: KeyCustodyError.self, performing: body)
      #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""))
      #expect(error?.message.contains("KEYCUSTODY_S") == true)
      #expect(error?.remedy.contains("environment variable") == true)
    }
  }

  @Test(
    "Paths have variables",
    arguments: [
      (["keyProviders", "hsm", "pinFile"], "KEYCUSTODY_KEY_PROVIDERS_HSM_PIN_FILE"), (["a"], "KEYCUSTODY_A"),
      (["with-dash"], "KEYCUSTODY_WITH_DASH"), (["a1", "b"], "KEYCUSTODY_A1_B"),
    ])
  func variables(_ path: [String], _ variable: String) {
    #expect(EnvironmentSource.variable(for: path) == variable)
  }

  @Test("A configuration written in code is read like a file")
  func literals() throws {
    let root = KeyCustodyConfiguration(["a": "x", "b": 2, "c": true, "d": ["y"], "e": ["f": "z"]]).root
    #expect(try root.string("a") == "x")
    #expect(try root.integer("b", in: 2...2) == 2)
    #expect(try root.boolean("c") == true)
    #expect(try root.strings("d") == ["y"])
    #expect(try root.section("e").requiredString("f") == "z")
    try root.refuseUnknownKeys()
  }
}

@Suite("Plugins")
struct PluginTests {
  private struct Nothing: Error {}

  private func plugins(_ opened: @escaping @Sendable () -> Void) -> [Plugin] {
    [
      Plugin(name: "other"),
      Plugin(
        name: "toy",
        policyStore: { (section, _) throws(KeyCustodyError) in
          let size = try section.integer("size", in: 1...9)
          return { () async throws(KeyCustodyError) in
            opened()
            throw KeyCustodyError(.unavailable, .unreachable, "Opened with \(size ?? 0).")
          }
        }),
    ]
  }

  private func open(_ values: [String: ConfigurationValue]) async -> (error: KeyCustodyError?, opened: Int) {
    let count = Counter()
    let section = KeyCustodyConfiguration(["stores": .section(["s": .section(values)])]).root.section("stores").section(
      "s")
    do throws(KeyCustodyError) {
      _ = try await plugins { count.increment() }.openPolicyStore(section, RuntimeEnvironment())
      return (nil, count.value)
    } catch {
      return (error, count.value)
    }
  }

  @Test("The plugin named opens with its settings")
  func opens() async {
    let (error, opened) = await open(["plugin": "toy", "size": 3])
    #expect(error?.message == "Opened with 3.")
    #expect(opened == 1)
  }

  @Test(
    "An unknown plugin, or one of another role, is refused, naming those there are", arguments: ["toys", "other", ""])
  func unknownPlugin(_ name: String) async {
    let (error, opened) = await open(["plugin": .string(name)])
    #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""))
    #expect(error?.remedy.contains("'stores.s.plugin'") == true)
    #expect(error?.remedy.contains("toy") == true)
    #expect(opened == 0)
  }

  @Test("A setting that nothing reads is refused before the backend is touched")
  func unknownSetting() async {
    let (error, opened) = await open(["plugin": "toy", "sise": 3])
    #expect(error == KeyCustodyError(.invalidInput, .unknownConfigurationKey, ""))
    #expect(error?.remedy.contains("'stores.s.size'") == true)
    #expect(opened == 0)
  }

  @Test("A plugin must be named")
  func unnamed() async {
    let (error, _) = await open([:])
    #expect(error == KeyCustodyError(.invalidInput, .missingConfigurationKey, ""))
  }
}
