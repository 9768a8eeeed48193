import KeyCustody

extension KeyProviderConformance {
  /// Identity, and whether capabilities are what they say.
  static let opening: [KeyBehavior] = [
    .init("The identity names a kind and an instance", "DESIGN 3", identityIsNamed),
    .init("The identity survives reopening", "DESIGN 3", identitySurvivesReopening),
    .init("Two backends have different identities", "DESIGN 3", identitiesDiffer),
    .init("Every key type offered can be generated", "DESIGN 3", offeredTypesGenerate),
    .init("A key type that is not offered is unsupported", "DESIGN 3", absentTypesAreUnsupported),
    .init("Every wrap algorithm offered wraps and unwraps", "V8", offeredWrapsWork),
    .init("A wrap algorithm that is not offered is unsupported", "DESIGN 3", absentWrapsAreUnsupported),
    .init("Every signature algorithm offered signs", "V8", offeredSignaturesWork),
    .init("A signature algorithm that is not offered is unsupported", "DESIGN 3", absentSignaturesAreUnsupported),
    .init("Import that is not offered is unsupported", "V7", absentImportIsUnsupported),
    .init("Backup is there exactly when it is offered", "V7", backupMatchesCapability),
    .init("What is absent or emulated says why or how", "DESIGN 3", findingsExplain),
  ]

  @Sendable private static func identityIsNamed(_ trial: KeyTrial) async throws {
    let identity = trial.provider.identity
    for part in [identity.kind, identity.instance] {
      try expect(
        !part.isEmpty && part.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f },
        "The identity '\(identity)' has an empty part or control characters.")
    }
  }

  @Sendable private static func identitySurvivesReopening(_ trial: KeyTrial) async throws {
    let before = trial.provider.identity
    let after = try await trial.reopened().provider.identity
    try expect(after == before, "The identity was '\(before)' and is '\(after)' after reopening.")
  }

  @Sendable private static func identitiesDiffer(_ trial: KeyTrial) async throws {
    guard trial.subject.backendsAreSeparate else { throw NotApplicable("there is one backend only") }
    let other = try await KeyTrial(trial.subject)
    let (left, right) = (trial.provider.identity, other.provider.identity)
    await other.bench.finish()
    try expect(left != right, "Two backends both call themselves '\(left)'.")
  }

  @Sendable private static func offeredTypesGenerate(_ trial: KeyTrial) async throws {
    let types = KeyType.offered.filter { trial.capabilities.offers(.generate($0)) }
    guard !types.isEmpty else { throw NotApplicable("no key type can be generated here") }
    for type in types {
      // Both plain roles of the small types; of large RSA keys, which take seconds to make, the first.
      let roles = type.roles.filter { $0 != .general }
      for role in [.rsa(bits: 3072), .rsa(bits: 4096)].contains(type) ? Array(roles.prefix(1)) : roles {
        let made = try await trial.generate(type, role)
        try expect(
          made.type == type && made.role == role, "Asked for \(type) to be \(role), got \(made.type), \(made.role).")
        guard let publicKey = made.publicKey else { continue }
        let found = SubjectPublicKeyInfo.keyType(of: publicKey)
        try expect(
          found == type, "The public key of an \(type) key is \(found.map(\.description) ?? "not understood").")
      }
    }
  }

  @Sendable private static func absentTypesAreUnsupported(_ trial: KeyTrial) async throws {
    for type in KeyType.offered + [.rsa(bits: 1024), .aes(bits: 128)] where !trial.capabilities.offers(.generate(type))
    {
      let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
      let version = try trial.freshVersion()
      try await refused(.unsupported, .notOffered, "Generating \(type), which is not offered,") {
        () async throws(KeyCustodyError) in
        _ = try await trial.provider.generate(
          GenerateKeyRequest(version: version, type: type, role: role), context: trial.context)
      }
      try await trial.expectAbsent(version, "whose type was refused")
    }
  }

  @Sendable private static func offeredWrapsWork(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      let wrapped = try await trial.wrap(key.version, algorithm)
      try await trial.expectUnwraps(wrapped.bytes, key.version, algorithm, "although both are offered")
    }
  }

  @Sendable private static func absentWrapsAreUnsupported(_ trial: KeyTrial) async throws {
    let version = try trial.freshVersion()
    for algorithm in [.rsaOAEP, .rsaOAEP256, .aes256KW, WrapAlgorithm(rawValue: "no-such-algorithm")] {
      let request = trial.request(version, algorithm)
      if !trial.capabilities.offers(.wrap(algorithm)) {
        try await refused(.unsupported, .notOffered, "Wrapping with \(algorithm), which is not offered,") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.wrap(SecretBytes(copying: KeyTrial.secret), with: request)
        }
      }
      if !trial.capabilities.offers(.unwrap(algorithm)) {
        try await refused(.unsupported, .notOffered, "Unwrapping with \(algorithm), which is not offered,") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.unwrap([UInt8](repeating: 1, count: 256), with: request)
        }
      }
    }
  }

  @Sendable private static func offeredSignaturesWork(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.signingKeys() {
      _ = try await trial.sign(trial.digest(for: algorithm), key.version, algorithm)
    }
  }

  @Sendable private static func absentSignaturesAreUnsupported(_ trial: KeyTrial) async throws {
    let absent = SignatureAlgorithm.allCases.filter { !trial.capabilities.offers(.sign($0)) }
    guard !absent.isEmpty else { throw NotApplicable("every signature algorithm is offered") }
    let version = try trial.freshVersion()
    for algorithm in absent {
      try await refused(.unsupported, .notOffered, "Signing with \(algorithm.rawValue), which is not offered,") {
        () async throws(KeyCustodyError) in
        _ = try await trial.provider.sign(trial.digest(for: algorithm), with: trial.request(version, algorithm))
      }
    }
  }

  @Sendable private static func absentImportIsUnsupported(_ trial: KeyTrial) async throws {
    let samples: [(KeyType, [UInt8])] = [
      (.rsa(bits: 2048), SampleKeys.rsaPrivateKey), (.ec(.p256), SampleKeys.ecPrivateKey),
      (.aes(bits: 256), SampleKeys.aesKey),
    ]
    let absent = samples.filter { !trial.capabilities.offers(.importing($0.0)) }
    guard !absent.isEmpty else { throw NotApplicable("import of RSA-2048, P-256 and AES-256 is offered") }
    for (type, material) in absent {
      let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
      let request = GenerateKeyRequest(version: try trial.freshVersion(), type: type, role: role)
      try await refused(.unsupported, .notOffered, "Importing \(type), which is not offered,") {
        () async throws(KeyCustodyError) in
        _ = try await trial.provider.importKey(SecretBytes(copying: material), as: request, context: trial.context)
      }
    }
  }

  @Sendable private static func backupMatchesCapability(_ trial: KeyTrial) async throws {
    let (offered, present) = (trial.capabilities.offers(.backup), trial.provider.backup != nil)
    try expect(offered == present, "Backup is \(offered ? "offered but absent" : "there but not offered").")
  }

  @Sendable private static func findingsExplain(_ trial: KeyTrial) async throws {
    for (ability, evidence) in trial.capabilities.findings {
      switch evidence {
      case .absent, .emulated:
        try expect(!evidence.detail.isEmpty, "'\(ability)' is \(evidence.word), and nothing says why or how.")
      case .probed, .declared: continue
      }
    }
  }
}
