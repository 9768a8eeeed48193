import KeyCustody

/// An open key provider in the hands of a behaviour, and the steps that many behaviours take.
struct KeyTrial: Sendable {
  let subject: KeyProviderSubject
  let bench: Bench<any KeyProvider>
  let provider: any KeyProvider

  /// What behaviours wrap where any secret will do.
  ///
  /// Nothing secret about it.
  static let secret = [UInt8](0xa0..<0xc0)

  init(_ subject: KeyProviderSubject) async throws {
    self.subject = subject
    bench = try await Bench(subject.make) { await $0.close() }
    provider = try await bench.open()
  }

  /// Opens the backend of a bench.
  init(_ subject: KeyProviderSubject, bench: Bench<any KeyProvider>) async throws {
    self.init(subject, bench, try await bench.open())
  }

  private init(_ subject: KeyProviderSubject, _ bench: Bench<any KeyProvider>, _ provider: any KeyProvider) {
    self.subject = subject
    self.bench = bench
    self.provider = provider
  }

  /// The same backend through another opening of it.
  func with(_ provider: any KeyProvider) -> KeyTrial { KeyTrial(subject, bench, provider) }

  /// The same backend, closed and opened again.
  func reopened() async throws -> KeyTrial { KeyTrial(subject, bench, try await bench.reopen()) }

  var capabilities: KeyProviderCapabilities { provider.capabilities }
  var context: CallContext { CallContext(purpose: .administration, requestID: "conformance") }

  // MARK: Keys

  /// A name that no key has.
  func freshVersion() throws -> KeyVersionID { try KeyVersionID(random: SystemRandom()) }

  /// The quickest to make of the types that may be generated here and that fit.
  func generableType(where fits: (KeyType) -> Bool = { _ in true }) -> KeyType? {
    let quickestFirst: [KeyType] = [
      .aes(bits: 256), .ec(.p256), .ec(.p384), .ec(.p521), .rsa(bits: 2048), .rsa(bits: 3072), .rsa(bits: 4096),
    ]
    return quickestFirst.first { fits($0) && capabilities.offers(.generate($0)) }
  }

  /// Makes a key, which must work.
  func generate(
    _ type: KeyType, _ role: KeyRole, version: KeyVersionID? = nil, label: String = "", backupable: Bool = false
  ) async throws -> KeyDescription {
    let request = GenerateKeyRequest(
      version: try version ?? freshVersion(), type: type, role: role, label: label, backupable: backupable)
    return try await working("Generating a \(role.rawValue) key of type \(type)") { () async throws(KeyCustodyError) in
      try await provider.generate(request, context: context)
    }
  }

  /// Any key, the quickest to make.
  func generateAny(version: KeyVersionID? = nil, label: String = "") async throws -> KeyDescription {
    guard let type = generableType() else { throw NotApplicable("no key type can be generated here") }
    let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
    return try await generate(type, role, version: version, label: label)
  }

  func describe(_ version: KeyVersionID) async throws -> KeyDescription {
    try await working("Describing a key") { () async throws(KeyCustodyError) in
      try await provider.describe(version, context: context)
    }
  }

  /// A key version must be confirmed absent.
  func expectAbsent(_ version: KeyVersionID, _ when: String) async throws {
    try await refused(.notFound, .keyVersionUnknown, "Describing a key \(when)") { () async throws(KeyCustodyError) in
      _ = try await provider.describe(version, context: context)
    }
  }

  // MARK: Wrapping

  /// The algorithms that can be tried from end to end, with the type of key to make for each.
  var wrapping: [(algorithm: WrapAlgorithm, type: KeyType)] {
    [WrapAlgorithm.aes256KW, .rsaOAEP256, .rsaOAEP].compactMap { algorithm in
      guard capabilities.offers(.wrap(algorithm)), capabilities.offers(.unwrap(algorithm)),
        let type = generableType(where: { WrapAlgorithm.fitting($0).contains(algorithm) })
      else { return nil }
      return (algorithm, type)
    }
  }

  /// ``wrapping``, where there is any.
  func someWrapping() throws -> [(algorithm: WrapAlgorithm, type: KeyType)] {
    guard !wrapping.isEmpty else { throw NotApplicable("no algorithm both wraps and unwraps here") }
    return wrapping
  }

  /// Every algorithm that can be tried, each with a key; those of one type share it, because RSA keys take long to make.
  func wrappingKeys() async throws -> [(key: KeyDescription, algorithm: WrapAlgorithm)] {
    var keys: [KeyType: KeyDescription] = [:]
    for (_, type) in try someWrapping() where keys[type] == nil { keys[type] = try await generate(type, .wrapping) }
    return wrapping.compactMap { pair in keys[pair.type].map { ($0, pair.algorithm) } }
  }

  /// A wrapping key of the quickest kind, with its algorithm.
  func wrappingKey() async throws -> (key: KeyDescription, algorithm: WrapAlgorithm) {
    let (algorithm, type) = try someWrapping()[0]
    return (try await generate(type, .wrapping), algorithm)
  }

  func request(_ version: KeyVersionID, _ algorithm: WrapAlgorithm) -> WrapRequest {
    WrapRequest(version: version, algorithm: algorithm, context: context)
  }

  func wrap(_ version: KeyVersionID, _ algorithm: WrapAlgorithm) async throws -> WrappedSecret {
    try await wrap(Self.secret, version, algorithm)
  }

  func wrap(
    _ secret: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm
  ) async throws -> WrappedSecret {
    try await working("Wrapping \(secret.count) bytes with \(algorithm)") { () async throws(KeyCustodyError) in
      try await provider.wrap(SecretBytes(copying: secret), with: request(version, algorithm))
    }
  }

  func unwrap(_ wrapped: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm) async throws -> [UInt8] {
    let secret = try await working("Unwrapping with \(algorithm)") { () async throws(KeyCustodyError) in
      try await provider.unwrap(wrapped, with: request(version, algorithm))
    }
    return secret.testBytes
  }

  /// A wrapped secret must come back as it was.
  func expectUnwraps(
    _ wrapped: [UInt8], to secret: [UInt8] = Self.secret, _ version: KeyVersionID, _ algorithm: WrapAlgorithm,
    _ when: String
  ) async throws {
    let got = try await unwrap(wrapped, version, algorithm)
    try expect(got == secret, "\(algorithm) unwrapped something else than was wrapped, \(when).")
  }

  /// Unwrapping must be refused as not authentic; the error is returned for comparison.
  @discardableResult
  func refusesUnwrap(
    _ wrapped: [UInt8], _ version: KeyVersionID, _ algorithm: WrapAlgorithm, _ what: String
  ) async throws -> KeyCustodyError {
    try await refused(.integrityFailure, .notAuthentic, "Unwrapping \(what) with \(algorithm)") {
      () async throws(KeyCustodyError) in
      _ = try await provider.unwrap(wrapped, with: request(version, algorithm))
    }
  }

  // MARK: Signing

  /// The algorithms that can be tried, with the type of key to make for each.
  var signing: [(algorithm: SignatureAlgorithm, type: KeyType)] {
    SignatureAlgorithm.allCases.compactMap { algorithm in
      guard capabilities.offers(.sign(algorithm)),
        let type = generableType(where: { SignatureAlgorithm.fitting($0).contains(algorithm) })
      else { return nil }
      return (algorithm, type)
    }
  }

  /// ``signing``, where there is any.
  func someSigning() throws -> [(algorithm: SignatureAlgorithm, type: KeyType)] {
    guard !signing.isEmpty else { throw NotApplicable("nothing signs here") }
    return signing
  }

  /// Every algorithm that can be tried, each with a key; those of one type share it.
  func signingKeys() async throws -> [(key: KeyDescription, algorithm: SignatureAlgorithm)] {
    var keys: [KeyType: KeyDescription] = [:]
    for (_, type) in try someSigning() where keys[type] == nil { keys[type] = try await generate(type, .signing) }
    return signing.compactMap { pair in keys[pair.type].map { ($0, pair.algorithm) } }
  }

  /// A digest of the right length; `seed` makes different ones.
  func digest(for algorithm: SignatureAlgorithm, seed: UInt8 = 1) -> [UInt8] {
    (0..<algorithm.digestLength).map { UInt8(truncatingIfNeeded: $0 &* 7) ^ seed }
  }

  func request(_ version: KeyVersionID, _ algorithm: SignatureAlgorithm) -> SignRequest {
    SignRequest(version: version, algorithm: algorithm, context: context)
  }

  func sign(_ digest: [UInt8], _ version: KeyVersionID, _ algorithm: SignatureAlgorithm) async throws -> [UInt8] {
    try await working("Signing with \(algorithm.rawValue)") { () async throws(KeyCustodyError) in
      try await provider.sign(digest, with: request(version, algorithm))
    }
  }
}

extension SecretBytes {
  /// The bytes, in ordinary memory: only for what the kit wrapped itself.
  var testBytes: [UInt8] { withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } } }
}
