#if CommandLine
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
  import KeyCustody
  import KeyCustodyPKCS11

  /// The configuration of a tour: the same service on another backend is another section, and nothing else.
  enum TourConfiguration {
    static func make(
      folder: String, backend: TourCommand.Backend, module: String?
    ) async throws(KeyCustodyError) -> [String: ConfigurationValue] {
      let keys: [String: ConfigurationValue]
      var records: [String: ConfigurationValue] = ["plugin": "file", "directory": .string("\(folder)/records")]
      switch backend {
      case .memory:
        keys = ["plugin": "memory"]
        records = ["plugin": "memory"]
      case .file:
        try FileTools.write(try SystemRandom().bytes(32), to: "\(folder)/store.key")
        keys = [
          "plugin": "file", "directory": .string("\(folder)/keys"), "keyFile": .string("\(folder)/store.key"),
        ]
      case .pkcs11:
        keys = try await token(folder: folder, module: module)
      }
      return [
        "keyProviders": ["keys": .section(keys)],
        "policyStores": ["records": .section(records)],
        "service": ["keyProvider": "keys", "policyStore": "records"],
      ]
    }

    private static let softHSMPaths = [
      "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
      "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
    ]

    /// Makes a token of the tour's own, with a random PIN, and gives the section that opens it.
    private static func token(
      folder: String, module: String?
    ) async throws(KeyCustodyError) -> [String: ConfigurationValue] {
      guard let module = module ?? softHSMPaths.first(where: { unsafe access($0, R_OK) == 0 }) else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "SoftHSM is not installed where this looks for it.",
          remedy: "apt-get install softhsm2, or name a module by --pkcs11-module PATH.")
      }
      // SoftHSM finds its tokens by this file, and by this variable only.
      FileTools.makeFolder("\(folder)/tokens")
      try FileTools.write(
        Array("directories.tokendir = \(folder)/tokens\nobjectstore.backend = file\nlog.level = ERROR\n".utf8),
        to: "\(folder)/softhsm2.conf")
      unsafe setenv("SOFTHSM2_CONF", "\(folder)/softhsm2.conf", 1)
      // Text, since PINs are; it guards a token that is gone when the tour ends.
      let pin = try SystemRandom().bytes(16).hexadecimal
      try FileTools.write(Array(pin.utf8), to: "\(folder)/pin")
      _ = try await PKCS11Provisioning.initialize(
        module: module, label: "keycustody-tour", userPIN: SecretBytes(copying: Array(pin.utf8)),
        securityOfficerPIN: SecretBytes(copying: Array(pin.utf8)))
      return [
        "plugin": "pkcs11", "module": .string(module), "token": "pkcs11:token=keycustody-tour",
        "pinFile": .string("\(folder)/pin"), "emulate": ["RSA-OAEP-256"],
      ]
    }
  }
#endif
