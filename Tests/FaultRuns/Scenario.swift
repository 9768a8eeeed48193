import KeyCustody
import KeyCustodyCrypto

/// The scripted day of a key provider: opened, keys of all kinds made and used, one destroyed, closed.
struct Scenario {
  let target: Target
  let journal: Journal
  /// An RSA-2048 key in PKCS#8, made once: making one takes longer than all the rest.
  let material: [UInt8]
  private let client = Client()
  private let random = SystemRandom()

  init(_ target: Target, _ journal: Journal, material: [UInt8]) {
    self.target = target
    self.journal = journal
    self.material = material
  }

  /// Runs it.
  ///
  /// - Throws: ``Client/Failure`` for whatever a caller may not be told or given.
  func run() async throws {
    let keys = try await client.read("open") { try await target.open() }
    do { try await use(keys) } catch {
      await keys.close()
      throw error
    }
    await keys.close()
  }

  /// A fault at opening must take no ability away.
  private func requireAbilities(_ keys: any KeyProvider) throws {
    var needed = KeyType.offered.flatMap { [KeyProviderCapabilities.Ability.generate($0), .importing($0)] }
    needed += SignatureAlgorithm.allCases.map { .sign($0) }
    needed += [WrapAlgorithm.aes256KW, .rsaOAEP, .rsaOAEP256].flatMap { [.wrap($0), .unwrap($0)] }
    for ability in needed where !keys.capabilities.offers(ability) {
      let why = keys.capabilities.findings[ability]?.detail ?? "no finding"
      throw Client.Failure(step: "open", why: "it does not offer '\(ability)': \(why)")
    }
  }

  private func use(_ keys: any KeyProvider) async throws {
    try requireAbilities(keys)
    let generated = try await make(keys, .aes(bits: 256), .wrapping, material: nil)
    try await wrapAndUnwrap(keys, generated, .aes256KW)
    let signing = try await make(keys, .ec(.p256), .signing, material: nil)
    try await sign(keys, signing)
    let imported = try await make(keys, .aes(bits: 256), .wrapping, material: try random.bytes(32))
    try await wrapAndUnwrap(keys, imported, .aes256KW)
    let rsa = try await make(keys, .rsa(bits: 2048), .wrapping, material: material)
    try await wrapAndUnwrap(keys, rsa, .rsaOAEP256)
    let all = [generated, signing, imported, rsa]
    for key in all {
      let found = try await client.read("describe \(key.type)") { try await keys.describe(key.version) }
      guard found.fingerprint == key.fingerprint, found.type == key.type, found.role == key.role else {
        throw Client.Failure(step: "describe \(key.type)", why: "it is another key: \(found)")
      }
    }
    let names = try await client.read("inventory") { try await keys.names() }
    guard names == Set(all.map(\.version)) else {
      throw Client.Failure(step: "inventory", why: "it lists \(names.count) keys, not those \(all.count)")
    }
    try await client.read("probe") { try await keys.probe(nil, context: CallContext(purpose: .probe)) }
    try await client.read("probe a key") {
      try await keys.probe(generated.version, context: CallContext(purpose: .probe))
    }
    try await destroy(keys, signing.version)
    guard try await client.read("look for the destroyed", { try await keys.find(signing.version) }) == nil else {
      throw Client.Failure(step: "look for the destroyed", why: "it is still there")
    }
  }

  private func make(
    _ keys: any KeyProvider, _ type: KeyType, _ role: KeyRole, material: [UInt8]?
  ) async throws -> KeyDescription {
    let version = try KeyVersionID(random: random)
    let request = GenerateKeyRequest(version: version, type: type, role: role)
    let context = CallContext(purpose: .administration)
    let step = "\(material == nil ? "generate" : "import") \(type)"
    try journal.note(.making(version))
    let made = try await client.change(step, settled: .alreadyExists) {
      guard let material else { return try await keys.generate(request, context: context) }
      return try await keys.importKey(SecretBytes(copying: material), as: request, context: context)
    } look: {
      try await client.read("\(step), then describe") { try await keys.find(version) }
    }
    guard made.version == version, made.type == type, made.role == role else {
      throw Client.Failure(step: step, why: "another key was made: \(made)")
    }
    try journal.note(.made(version, fingerprint: made.fingerprint))
    return made
  }

  private func wrapAndUnwrap(
    _ keys: any KeyProvider, _ key: KeyDescription, _ algorithm: WrapAlgorithm
  ) async throws {
    let secret = try random.bytes(32)
    let wrapped = try await client.read("wrap with \(key.type)") {
      try await keys.wrap(secret, key.version, algorithm)
    }
    try journal.note(.wrapped(key.version, algorithm, wrapped, secret: secret))
    let again = try await client.read("unwrap with \(key.type)") {
      try await keys.unwrap(wrapped, key.version, algorithm)
    }
    guard again == secret else { throw Client.Failure(step: "unwrap with \(key.type)", why: "wrong bytes") }
  }

  private func sign(_ keys: any KeyProvider, _ key: KeyDescription) async throws {
    let digest = try random.bytes(32)
    let signature = try await client.read("sign") { try await keys.sign(digest, key.version, .es256) }
    guard try PublicKey(spki: key.publicKey ?? []).verify(signature, digest: digest, .es256) else {
      throw Client.Failure(step: "sign", why: "a wrong signature")
    }
  }

  private func destroy(_ keys: any KeyProvider, _ version: KeyVersionID) async throws {
    try journal.note(.destroying(version))
    try await client.change("destroy", settled: .keyVersionUnknown) {
      try await keys.destroy(version)
    } look: {
      try await client.read("destroy, then describe") { try await keys.find(version) } == nil ? () : nil
    }
    try journal.note(.destroyed(version))
  }
}
