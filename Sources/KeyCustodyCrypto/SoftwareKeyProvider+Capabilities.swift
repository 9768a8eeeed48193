import KeyCustody
import Synchronization

extension KeyProviderCapabilities {
  private static let known = Mutex<KeyProviderCapabilities?>(nil)

  /// What the cryptographic library does.
  ///
  /// It is the same library for every provider of a process, so it is tried once.
  static func ofSoftwareKeys(random: any RandomSource) throws(KeyCustodyError) -> KeyProviderCapabilities {
    if let known = known.withLock({ $0 }) { return known }
    var findings: [Ability: Evidence] = [:]
    for type in KeyType.offered { findings.merge(try probe(type, random: random)) { old, _ in old } }
    let found = KeyProviderCapabilities(findings)
    known.withLock { $0 = found }
    return found
  }

  /// Runs everything a key of a type can do.
  ///
  /// RSA is run with 2048 bits alone, and no RSA key is made: that takes half a second and more, and making a key for
  /// a caller ends with using it once.
  private static func probe(
    _ type: KeyType, random: any RandomSource
  ) throws(KeyCustodyError) -> [Ability: Evidence] {
    if case .rsa(let bits) = type, bits > 2048 { return [.generate(type): .declared, .importing(type): .declared] }
    let key = try SoftwareKey.forProbing(type, random: random)
    let again = try SoftwareKey.read(try key.serialized(), as: type)
    guard try again.fingerprint() == key.fingerprint() else { throw KeyCustodyError.selfTestFailed("import \(type)") }
    var findings: [Ability: Evidence] = [.generate(type): .probed, .importing(type): .probed]
    if case .rsa = type { findings[.generate(type)] = .declared }
    for algorithm in WrapAlgorithm.fitting(type) {
      if OpenSSLLibrary.shared.module.mode == .fips,
        let why = FIPSAllowList.refusal(of: algorithm.rawValue, for: .wrapping)
      {
        findings[.wrap(algorithm)] = .absent(why: "FIPS mode: \(why)")
        // Nothing that it could unwrap can be made here to try it.
        let refusal = FIPSAllowList.refusal(of: algorithm.rawValue, for: .unwrapping)
        findings[.unwrap(algorithm)] = refusal.map { .absent(why: "FIPS mode: \($0)") } ?? .declared
        continue
      }
      try key.prove(algorithm, random: random)
      findings[.wrap(algorithm)] = .probed
      findings[.unwrap(algorithm)] = .probed
    }
    for algorithm in SignatureAlgorithm.fitting(type) {
      try key.prove(algorithm)
      findings[.sign(algorithm)] = .probed
    }
    if case .aes = type {
      try proveBackup(key, random)
      findings[.backup] = .probed
    }
    return findings
  }

  private static func proveBackup(_ key: SoftwareKey, _ random: any RandomSource) throws(KeyCustodyError) {
    let request = GenerateKeyRequest(version: try KeyVersionID(random: random), type: key.type, role: .wrapping)
    let record = try SoftwareKeyRecord(key, request, origin: .generated)
    let master = try random.secret(32)
    let blob = try SealedSoftwareKey.seal(record, for: .backup, under: master, random: random)
    let opened = try SealedSoftwareKey(blob, for: .backup, under: master)
    guard opened.description == record.description else { throw KeyCustodyError.selfTestFailed("backup") }
  }
}

extension SoftwareKey {
  /// Does the work of a role once and checks the outcome.
  func prove(_ role: KeyRole, random: any RandomSource) throws(KeyCustodyError) {
    if role.wraps, let algorithm = WrapAlgorithm.fitting(type).first { try prove(algorithm, random: random) }
    if role.signs, let algorithm = SignatureAlgorithm.fitting(type).first { try prove(algorithm) }
  }

  fileprivate func prove(_ algorithm: WrapAlgorithm, random: any RandomSource) throws(KeyCustodyError) {
    let secret = try random.secret(32)
    guard try unwrap(try wrap(secret, algorithm), algorithm).isEqual(to: secret) else {
      throw KeyCustodyError.selfTestFailed("unwrap \(algorithm)")
    }
  }

  fileprivate func prove(_ algorithm: SignatureAlgorithm) throws(KeyCustodyError) {
    // A fixed one: a random digest in memory would look like a key that stayed.
    let digest = [UInt8](repeating: 0x5a, count: algorithm.digestLength)
    let signature = try sign(digest, algorithm)
    guard let publicKey = try publicKey(),
      try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
    else { throw KeyCustodyError.selfTestFailed("sign \(algorithm.rawValue)") }
  }
}

extension KeyCustodyError {
  fileprivate static func selfTestFailed(_ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .fault, .internalFault, "The cryptographic library gave a wrong answer to a check of '\(what)'.",
      remedy: "Do not use this installation: check the OpenSSL library and the machine.")
  }
}
