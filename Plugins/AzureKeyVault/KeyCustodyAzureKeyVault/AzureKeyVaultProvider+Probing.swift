import KeyCustody
import KeyCustodyCrypto

extension AzureKeyVaultProvider {
  /// Asks for a key that is not there: the vault answers, knows this program, and lets it read keys.
  func checkVault(_ deadline: Duration) async throws(KeyCustodyError) {
    let name = "\(settings.settings.prefix)-\(String(repeating: "0", count: 32))"
    let answer = try await vault.ask(VaultAsk(method: .get, path: "/keys/\(name)"), by: deadline)
    guard !answer.isGood else { return }
    let error = answer.error(settings.vault.authority, nil)
    guard error.code == .notFound else { throw error }
  }

  /// Has a key do its work, and checks what comes of it.
  func prove(_ version: KeyVersionID, _ deadline: Duration) async throws(KeyCustodyError) {
    let key = try await look(version, deadline).description
    let context = CallContext(purpose: .probe)
    if key.role.wraps, let algorithm = WrapAlgorithm.fitting(key.type).first {
      let secret = try environment.random.secret(32)
      let request = WrapRequest(version: version, algorithm: algorithm, context: context)
      let wrapped = try await wrapped(secret, request, deadline)
      let back = try await unwrapped(wrapped, request, deadline)
      guard back.isEqual(to: secret) else { throw Self.wrongAnswer("unwrap \(algorithm)", version) }
    }
    if key.role.signs, let algorithm = SignatureAlgorithm.fitting(key.type).first, let publicKey = key.publicKey {
      let digest = try environment.random.bytes(algorithm.digestLength)
      let request = SignRequest(version: version, algorithm: algorithm, context: context)
      let signature = try await signed(digest, request, deadline)
      let isRight = try await worker.run { () throws(KeyCustodyError) in
        try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
      }
      guard isRight else { throw Self.wrongAnswer("sign \(algorithm.rawValue)", version) }
    }
  }

  private static func wrongAnswer(_ what: String, _ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .fault, .internalFault, "The vault gave a wrong answer to '\(what)' with the key version \(version).",
      remedy: "Do not use this vault before it is known why.")
  }

  /// What is offered: as configured, and AES when the vault does it.
  func findCapabilities() async throws(KeyCustodyError) -> KeyProviderCapabilities {
    var findings: [KeyProviderCapabilities.Ability: KeyProviderCapabilities.Evidence] = [:]
    for type in settings.settings.types {
      findings[.generate(type)] = .declared
      findings[.importing(type)] = .declared
      for algorithm in WrapAlgorithm.fitting(type) {
        findings[.wrap(algorithm)] =
          settings.settings.wrapsOnHost
          ? .emulated(how: "the host wraps with the public key, and the vault is not asked") : .declared
        findings[.unwrap(algorithm)] = .declared
      }
      for algorithm in SignatureAlgorithm.fitting(type) { findings[.sign(algorithm)] = .declared }
    }
    let aes = KeyType.aes(bits: 256)
    let symmetric = try await symmetricEvidence()
    for ability in [KeyProviderCapabilities.Ability.generate(aes), .wrap(.aes256KW), .unwrap(.aes256KW)] {
      findings[ability] = symmetric
    }
    findings[.importing(aes)] = symmetric == .probed ? .declared : symmetric
    findings[.backup] = .absent(why: "a vault restores its backups under the names of its own, in its own place alone")
    return KeyProviderCapabilities(findings)
  }

  /// Makes an AES key, uses it, and destroys it again.
  private func symmetricEvidence() async throws(KeyCustodyError) -> KeyProviderCapabilities.Evidence {
    guard settings.settings.symmetric else { return .absent(why: "'symmetric' is not set, so nothing was tried") }
    let context = CallContext(purpose: .probe)
    let request = GenerateKeyRequest(
      version: try KeyVersionID(random: environment.random), type: .aes(bits: 256), role: .wrapping,
      label: "thrown away when the provider was opened")
    do throws(KeyCustodyError) {
      try await run(context) { (deadline) throws(KeyCustodyError) in _ = try await self.generated(request, deadline) }
    } catch {
      guard error.code == .unsupported || error.code == .invalidInput else { throw error }
      return .absent(why: "the vault made no AES key when it was asked to")
    }
    do throws(KeyCustodyError) { try await probe(request.version, context: context) } catch {
      try? await destroy(request.version, context: context)
      throw error
    }
    try await destroy(request.version, context: context)
    return .probed
  }
}
