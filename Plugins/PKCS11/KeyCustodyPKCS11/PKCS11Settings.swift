import KeyCustody

/// The settings of a backend on a token, read and checked before anything is touched.
struct PKCS11Settings: Sendable {
  /// The module's absolute path.
  var module: String
  /// Which token.
  var token: TokenSelector
  /// Where the user PIN is read from when it is needed.
  var pin: SecretReference
  /// How many sessions do work.
  var sessions: Int
  /// How long a call that brings no deadline of its own may take.
  var timeout: Duration
  /// How long making keys, listing them and opening may take.
  var longTimeout: Duration { timeout * 12 }
  /// Whether what an AES key wrapped is unwrapped again and compared before it goes out.
  var checksWraps: Bool
  /// What the host may do in the token's place.
  var emulated: Set<WrapAlgorithm>
  /// Clock, log, variables.
  var environment: RuntimeEnvironment

  /// What `emulate` may list.
  static let emulatable: Set<WrapAlgorithm> = [.rsaOAEP256]

  /// Reads `module`, `token`, `pinFile` or `pinEnvironment`, and `timeout`, which both kinds of backend share.
  init(common section: ConfigurationSection, _ environment: RuntimeEnvironment) throws(KeyCustodyError) {
    module = try section.requiredString("module")
    try PKCS11ModuleHost.requireAbsolute(module)
    token = try TokenSelector(try section.requiredString("token"))
    guard let pin = try SecretReference("pin", in: section, environment: environment) else {
      let place = section.path.joined(separator: ".")
      throw KeyCustodyError(
        .invalidInput, .missingConfigurationKey, "The configuration of '\(place)' says nowhere where the PIN is.",
        remedy: "Set 'pinFile' to a file that only the service can read, or 'pinEnvironment' to a variable's name.")
    }
    self.pin = pin
    sessions = 1
    emulated = []
    timeout = .seconds(try section.integer("timeout", in: 1...600) ?? 5)
    checksWraps = true
    self.environment = environment
  }

  /// Reads the settings of a key provider: the shared ones, `sessions`, `checkWraps` and `emulate`.
  init(keyProvider section: ConfigurationSection, _ environment: RuntimeEnvironment) throws(KeyCustodyError) {
    try self.init(common: section, environment)
    sessions = try section.integer("sessions", in: 1...64) ?? 4
    checksWraps = try section.boolean("checkWraps") ?? true
    for name in try section.strings("emulate") ?? [] {
      let algorithm = WrapAlgorithm(rawValue: name)
      guard Self.emulatable.contains(algorithm) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "'emulate' lists '\(name.prefix(40))', which can't be emulated.",
          remedy: "It may list: \(Self.emulatable.map(\.rawValue).sorted().joined(separator: ", ")).")
      }
      emulated.insert(algorithm)
    }
  }
}
