import KeyCustody

extension KeyProviderConformance {
  /// Bringing keys in, and backups.
  static let importing: [KeyBehavior] = [
    .init("An imported AES key unwraps the example of RFC 3394", "V7", importedAESKeyWorks),
    .init("An imported RSA key unwraps what was wrapped elsewhere", "V7", importedRSAKeyWorks),
    .init("An imported EC key has its public key and signs", "V7", importedECKeyWorks),
    .init("Malformed key material is refused", "V7", malformedMaterialIsRefused),
    .init("Key material of another type is refused", "V7", otherTypeIsRefused),
    .init("A key whose parts don't fit together is refused", "KeyProvider", unsoundKeyIsRefused),
    .init("An import under a name that is taken is refused", "KeyProvider", importUnderTakenNameIsRefused),
    .init("A backup brings a destroyed key back", "V7", backupRestores),
    .init("A key that can't be backed up says so", "V7", backupOfOtherKeysIsUnsupported),
    .init("A damaged backup is refused", "V7", damagedBackupIsRefused),
  ]

  @Sendable private static func importedAESKeyWorks(_ trial: KeyTrial) async throws {
    let key = try await trial.importSample(.aes(bits: 256), .wrapping, SampleKeys.aesKey)
    try expect(key.publicKey == nil, "An imported AES key is described with a public key.")
    if trial.capabilities.offers(.unwrap(.aes256KW)) {
      try await trial.expectUnwraps(
        SampleKeys.aesWrapped, to: SampleKeys.aesSecret, key.version, .aes256KW, "for RFC 3394, section 4.6")
    }
    if trial.capabilities.offers(.wrap(.aes256KW)) {
      let wrapped = try await trial.wrap(SampleKeys.aesSecret, key.version, .aes256KW)
      try expect(
        wrapped.bytes == SampleKeys.aesWrapped, "A256KW does not give the ciphertext of RFC 3394, section 4.6.")
    }
  }

  @Sendable private static func importedRSAKeyWorks(_ trial: KeyTrial) async throws {
    let key = try await trial.importSample(.rsa(bits: 2048), .wrapping, SampleKeys.rsaPrivateKey)
    try expect(key.publicKey == SampleKeys.rsaPublicKey, "The imported RSA key is described with another public key.")
    for (algorithm, wrapped) in [
      (WrapAlgorithm.rsaOAEP, SampleKeys.rsaOAEP), (.rsaOAEP256, SampleKeys.rsaOAEP256),
    ] where trial.capabilities.offers(.unwrap(algorithm)) {
      try await trial.expectUnwraps(wrapped, to: SampleKeys.wrappedSecret, key.version, algorithm, "wrapped by OpenSSL")
    }
  }

  @Sendable private static func importedECKeyWorks(_ trial: KeyTrial) async throws {
    let key = try await trial.importSample(.ec(.p256), .signing, SampleKeys.ecPrivateKey)
    try expect(key.publicKey == SampleKeys.ecPublicKey, "The imported EC key is described with another public key.")
    guard trial.capabilities.offers(.sign(.es256)) else { return }
    let digest = trial.digest(for: .es256)
    let signature = try await trial.sign(digest, key.version, .es256)
    if let verify = trial.subject.verify {
      let good = try verify(signature, digest, SampleKeys.ecPublicKey, .es256)
      try expect(good, "A signature by the imported key does not verify.")
    }
  }

  @Sendable private static func malformedMaterialIsRefused(_ trial: KeyTrial) async throws {
    let samples = trial.importable
    guard !samples.isEmpty else { throw NotApplicable("import is not offered") }
    for (type, role, material) in samples {
      let malformed: [(String, [UInt8])] = [
        ("no bytes", []), ("one byte", [0x30]), ("half a key", Array(material.prefix(material.count / 2))),
        ("a key without its last byte", material.dropLast()), ("a key with a byte too many", material + [0]),
        ("1 MiB", [UInt8](repeating: 0x30, count: 1 << 20)),
      ]
      for (what, bytes) in malformed {
        try await trial.refusesImport(bytes, type, role, "\(what) as \(type)")
      }
    }
  }

  @Sendable private static func otherTypeIsRefused(_ trial: KeyTrial) async throws {
    let samples = trial.importable
    guard samples.count > 1 else { throw NotApplicable("import of several types is not offered") }
    for (type, role, _) in samples {
      for (other, _, material) in samples where other != type {
        try await trial.refusesImport(material, type, role, "an \(other) key as \(type)")
      }
    }
  }

  @Sendable private static func unsoundKeyIsRefused(_ trial: KeyTrial) async throws {
    var tried = 0
    if trial.capabilities.offers(.importing(.rsa(bits: 2048))) {
      tried += 1
      var altered = SampleKeys.rsaPrivateKey
      altered[SampleKeys.rsaPrimeOffset] ^= 2
      try await trial.refusesImport(altered, .rsa(bits: 2048), .wrapping, "an RSA key with a wrong prime")
    }
    if trial.capabilities.offers(.importing(.ec(.p256))) {
      tried += 1
      for (what, byte) in [("no scalar", UInt8(0)), ("a scalar over the order", 0xff)] {
        var altered = SampleKeys.ecPrivateKey
        for index in SampleKeys.ecScalarRange { altered[index] = byte }
        try await trial.refusesImport(altered, .ec(.p256), .signing, "an EC key with \(what)")
      }
    }
    if tried == 0 { throw NotApplicable("import of RSA-2048 or P-256 is not offered") }
  }

  @Sendable private static func importUnderTakenNameIsRefused(_ trial: KeyTrial) async throws {
    guard let (type, role, material) = trial.importable.last else { throw NotApplicable("import is not offered") }
    let old = try await trial.generateAny()
    try await refused(.invalidInput, .alreadyExists, "Importing under a name that is taken") {
      () async throws(KeyCustodyError) in
      _ = try await trial.provider.importKey(
        SecretBytes(copying: material), as: GenerateKeyRequest(version: old.version, type: type, role: role),
        context: trial.context)
    }
    try expect(try await trial.describe(old.version) == old, "The refused import changed the key.")
  }

  @Sendable private static func backupRestores(_ trial: KeyTrial) async throws {
    guard let backup = trial.provider.backup else { throw NotApplicable("backup is not offered") }
    let (algorithm, type) = try trial.someWrapping()[0]
    let key = try await trial.generate(type, .wrapping, backupable: true)
    try expect(key.isBackupable, "A key made to be backed up is described as one that can't be.")
    let wrapped = try await trial.wrap(key.version, algorithm)
    let blob = try await working("A backup") { () async throws(KeyCustodyError) in
      try await backup.backUp(key.version, context: trial.context)
    }
    try await trial.destroy(key.version)
    let back = try await working("Restoring a backup") { () async throws(KeyCustodyError) in
      try await backup.restore(blob, context: trial.context)
    }
    try expect(
      back.version == key.version && back.fingerprint == key.fingerprint && back.type == key.type
        && back.role == key.role,
      "The restored key is \(back), the one backed up was \(key).")
    try await trial.expectUnwraps(wrapped.bytes, key.version, algorithm, "after a restore")
  }

  @Sendable private static func backupOfOtherKeysIsUnsupported(_ trial: KeyTrial) async throws {
    guard let type = trial.generableType() else { throw NotApplicable("no key type can be generated here") }
    guard let backup = trial.provider.backup else {
      let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
      let request = GenerateKeyRequest(version: try trial.freshVersion(), type: type, role: role, backupable: true)
      try await refused(.unsupported, nil, "Generating a key to be backed up, without backup,") {
        () async throws(KeyCustodyError) in
        _ = try await trial.provider.generate(request, context: trial.context)
      }
      return try await trial.expectAbsent(request.version, "that was refused because it can't be backed up")
    }
    let key = try await trial.generateAny()
    guard !key.isBackupable else { throw NotApplicable("every key can be backed up here") }
    try await refused(.unsupported, nil, "Backing up a key that is not backupable") {
      () async throws(KeyCustodyError) in
      _ = try await backup.backUp(key.version, context: trial.context)
    }
  }

  @Sendable private static func damagedBackupIsRefused(_ trial: KeyTrial) async throws {
    guard let backup = trial.provider.backup else { throw NotApplicable("backup is not offered") }
    let (_, type) = try trial.someWrapping()[0]
    let key = try await trial.generate(type, .wrapping, backupable: true)
    let blob = try await working("A backup") { () async throws(KeyCustodyError) in
      try await backup.backUp(key.version, context: trial.context)
    }
    try await trial.destroy(key.version)
    var damaged: [(String, [UInt8])] = [
      ("an empty backup", []), ("half a backup", Array(blob.prefix(blob.count / 2))),
      ("a backup without its last byte", blob.dropLast()), ("a backup with a byte too many", blob + [0]),
    ]
    for index in stride(from: 0, to: blob.count, by: max(1, blob.count / 32)) {
      var altered = blob
      altered[index] ^= 1
      damaged.append(("a backup with a flipped bit in byte \(index)", altered))
    }
    for (what, bytes) in damaged {
      let error = try await thrown("Restoring \(what)") { () async throws(KeyCustodyError) in
        _ = try await backup.restore(bytes, context: trial.context)
      }
      try expect(
        error.code == .integrityFailure || error.code == .invalidInput,
        "Restoring \(what) should have thrown integrityFailure or invalidInput but threw '\(error.debugDescription)'.")
      try await trial.expectAbsent(key.version, "after restoring \(what) was refused")
    }
  }
}

extension KeyTrial {
  /// The sample keys of types that may be imported here.
  var importable: [(type: KeyType, role: KeyRole, material: [UInt8])] {
    let samples: [(KeyType, KeyRole, [UInt8])] = [
      (.rsa(bits: 2048), .wrapping, SampleKeys.rsaPrivateKey), (.ec(.p256), .signing, SampleKeys.ecPrivateKey),
      (.aes(bits: 256), .wrapping, SampleKeys.aesKey),
    ]
    return samples.filter { capabilities.offers(.importing($0.0)) }
  }

  /// Imports a sample key and checks its description.
  func importSample(_ type: KeyType, _ role: KeyRole, _ material: [UInt8]) async throws -> KeyDescription {
    guard capabilities.offers(.importing(type)) else { throw NotApplicable("import of \(type) is not offered") }
    let request = GenerateKeyRequest(version: try freshVersion(), type: type, role: role, label: "imported")
    let key = try await working("Importing an \(type) key") { () async throws(KeyCustodyError) in
      try await provider.importKey(SecretBytes(copying: material), as: request, context: context)
    }
    try expect(
      key.version == request.version && key.type == type && key.role == role && key.origin == .imported,
      "The imported key is described as \(key).")
    try expect(try await describe(key.version) == key, "The imported key is described differently later.")
    return key
  }

  /// An import must be refused and leave nothing behind.
  func refusesImport(_ material: [UInt8], _ type: KeyType, _ role: KeyRole, _ what: String) async throws {
    let request = GenerateKeyRequest(version: try freshVersion(), type: type, role: role)
    let error = try await refused(.invalidInput, nil, "Importing \(what)") { () async throws(KeyCustodyError) in
      _ = try await provider.importKey(SecretBytes(copying: material), as: request, context: context)
    }
    try expect(
      [.malformed, .wrongKeyType, .wrongSize].contains(error.reason),
      "Importing \(what) was refused as '\(error.reason)'; malformed, wrong-key-type or wrong-size is due.")
    try await expectAbsent(request.version, "whose import was refused")
  }
}
