import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// What a token can do, found by doing it with objects that last as long as the probing session wants them.
///
/// C_GetMechanismInfo promises more than tokens keep, so it is believed only for RSA keys above 2048 bits, which would
/// take seconds to make.
struct CapabilityProbe {
  /// What was found, and how unwrapping is then to be done.
  struct Result: Sendable {
    var findings: [KeyProviderCapabilities.Ability: KeyProviderCapabilities.Evidence] = [:]
    var ways: [WrapAlgorithm: UnwrapWay] = [:]
  }

  private let session: CryptokiSession
  private let emulated: Set<WrapAlgorithm>
  private var result = Result()
  private let id: [UInt8]

  /// Probes the token of a session.
  ///
  /// - Throws: only when the session itself fails; what the token can't do is a finding.
  static func run(_ session: CryptokiSession, emulated: Set<WrapAlgorithm>) throws(PKCS11Failure) -> Result {
    var probe = CapabilityProbe(session: session, emulated: emulated, id: try session.random(16))
    probe.result.findings[.backup] = .absent(why: "keys made here never leave the token, not even wrapped")
    try probe.probeRSA()
    for curve in EllipticCurve.allCases { try probe.probeEC(curve) }
    try probe.probeAES()
    try probe.probeImport()
    return probe.result
  }

  private init(session: CryptokiSession, emulated: Set<WrapAlgorithm>, id: [UInt8]) {
    self.session = session
    self.emulated = emulated
    self.id = id
  }

  /// Runs one trial; a refusal of the token becomes a finding, a token that went away ends the probing.
  ///
  /// A device that stumbles is asked three times, so that one fault at opening takes no ability away.
  private func attempt(
    _ trial: () throws(PKCS11Failure) -> Bool
  ) throws(PKCS11Failure) -> KeyProviderCapabilities.Evidence {
    var finding = KeyProviderCapabilities.Evidence.absent(why: "not tried")
    for _ in 0..<3 {
      do {
        if try trial() { return .probed }
        finding = .absent(why: "the token's answer was wrong")
      } catch {
        if error.meansSessionIsGone || error.meansTokenIsGone { throw error }
        let cause = error.translated
        finding = .absent(why: "the token refused: \(cause.diagnostic ?? cause.message)")
        guard error.meansDeviceFailed || error.meansHandleIsGone else { return finding }
      }
    }
    // Refusals in the words of a broken device are a finding only of a token that works.
    try session.confirmPresence()
    _ = try session.random(1)
    return finding
  }

  private mutating func probeRSA() throws(PKCS11Failure) {
    let all = KeyType.offered.filter { if case .rsa = $0 { true } else { false } }
    var pair: [CK_OBJECT_HANDLE] = []
    var publicKey: PublicKey?
    let made = try attempt { () throws(PKCS11Failure) in
      for object in pair { session.discard(object) }
      // One pair for everything: making it is what takes time.
      pair = try session.generate(KeyTemplates.Purpose(probing: .rsa(bits: 2048), .general, id: id))
      publicKey = try self.publicKey(pair)
      return publicKey != nil
    }
    defer { for object in pair { session.discard(object) } }
    let largest = try session.cryptoki.largestKey(CKM_RSA_PKCS_KEY_PAIR_GEN, on: session.standing.slot) ?? 0
    for type in all {
      guard case .rsa(let bits) = type else { continue }
      let isNamed = bits <= 2048 || largest >= bits
      result.findings[.generate(type)] =
        !made.isOffered || bits == 2048 ? made : isNamed ? .declared : .absent(why: "RSA only up to \(largest) bits")
    }
    guard made.isOffered, let privateKey = pair.first, let publicKey else {
      for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256] { note(algorithm, .absent(why: made.detail), nil) }
      for algorithm in SignatureAlgorithm.fitting(.rsa(bits: 2048)) {
        result.findings[.sign(algorithm)] = .absent(why: made.detail)
      }
      return
    }
    try probeOAEP(privateKey, publicKey)
    for algorithm in SignatureAlgorithm.fitting(.rsa(bits: 2048)) {
      result.findings[.sign(algorithm)] = try signs(privateKey, publicKey, algorithm)
    }
  }

  private func publicKey(_ pair: [CK_OBJECT_HANDLE]) throws(PKCS11Failure) -> PublicKey? {
    guard pair.count == 2 else { return nil }
    let types: [CK_ATTRIBUTE_TYPE] = [CKA_KEY_TYPE, CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT]
    let values = try session.read(types, of: pair[1])
    return PublicKeyAttributes.subjectPublicKeyInfo(privateKey: values, publicKey: values).flatMap {
      try? PublicKey(spki: $0)
    }
  }

  private mutating func probeOAEP(_ privateKey: CK_OBJECT_HANDLE, _ publicKey: PublicKey) throws(PKCS11Failure) {
    for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256] {
      let native = try attempt { () throws(PKCS11Failure) in
        let wrapped = try wrap(publicKey, algorithm)
        return isKnown(try session.decrypt(.oaep(algorithm), key: privateKey, wrapped))
      }
      note(algorithm, native, .oaep(algorithm))
    }
    guard !(result.findings[.unwrap(.rsaOAEP256)]?.isOffered ?? false) else { return }
    guard emulated.contains(.rsaOAEP256) else {
      let why = "the token lacks it; 'emulate': [\"RSA-OAEP-256\"] lets the host undo the padding"
      return note(.rsaOAEP256, .absent(why: why), nil)
    }
    let raw = try attempt { () throws(PKCS11Failure) in
      let wrapped = try wrap(publicKey, .rsaOAEP256)
      let block = try session.decrypt(.bare(CKM_RSA_X_509), key: privateKey, wrapped)
      return isKnown(try onHost { () throws(KeyCustodyError) in try decodeOAEP(block, .rsaOAEP256) })
    }
    let how = "CKM_RSA_X_509 on the token, the padding undone on the host"
    note(.rsaOAEP256, raw == .probed ? .emulated(how: how) : raw, .rawRSA(.rsaOAEP256))
  }

  private func wrap(_ key: PublicKey, _ algorithm: WrapAlgorithm) throws(PKCS11Failure) -> [UInt8] {
    try onHost { () throws(KeyCustodyError) in
      try key.wrap(SecretBytes(copying: CryptokiSession.checkBytes), algorithm)
    }
  }

  private func isKnown(_ secret: consuming SecretBytes) -> Bool {
    secret.isEqual(to: SecretBytes(copying: CryptokiSession.checkBytes))
  }

  private mutating func note(
    _ algorithm: WrapAlgorithm, _ evidence: KeyProviderCapabilities.Evidence, _ way: UnwrapWay?
  ) {
    result.findings[.unwrap(algorithm)] = evidence
    result.findings[.wrap(algorithm)] =
      evidence.isOffered && algorithm.isAsymmetric
      ? .emulated(how: "on the host, with the token's public key") : evidence
    result.ways[algorithm] = evidence.isOffered ? way : nil
  }

  private func signs(
    _ privateKey: CK_OBJECT_HANDLE, _ publicKey: PublicKey, _ algorithm: SignatureAlgorithm
  ) throws(PKCS11Failure) -> KeyProviderCapabilities.Evidence {
    try attempt { () throws(PKCS11Failure) in
      let digest = [UInt8](repeating: 0xa5, count: algorithm.digestLength)
      let signature = try session.sign(digest, privateKey, algorithm)
      return try onHost { () throws(KeyCustodyError) in
        try publicKey.verify(signature, digest: digest, algorithm)
      }
    }
  }

  private mutating func probeEC(_ curve: EllipticCurve) throws(PKCS11Failure) {
    let type = KeyType.ec(curve)
    var pair: [CK_OBJECT_HANDLE] = []
    var publicKey: PublicKey?
    let made = try attempt { () throws(PKCS11Failure) in
      for object in pair { session.discard(object) }
      pair = try session.generate(KeyTemplates.Purpose(probing: type, .signing, id: id))
      publicKey = try self.publicKey(pair)
      return publicKey != nil
    }
    defer { for object in pair { session.discard(object) } }
    result.findings[.generate(type)] = made
    for algorithm in SignatureAlgorithm.fitting(type) {
      guard made.isOffered, let privateKey = pair.first, let publicKey else {
        result.findings[.sign(algorithm)] = .absent(why: made.detail)
        continue
      }
      result.findings[.sign(algorithm)] = try signs(privateKey, publicKey, algorithm)
    }
  }

  private mutating func probeAES() throws(PKCS11Failure) {
    let type = KeyType.aes(bits: 256)
    var key: [CK_OBJECT_HANDLE] = []
    let made = try attempt { () throws(PKCS11Failure) in
      key = try session.generate(KeyTemplates.Purpose(probing: type, .wrapping, id: id))
      return true
    }
    defer { for object in key { session.discard(object) } }
    result.findings[.generate(type)] = made
    guard let handle = key.first else { return note(.aes256KW, .absent(why: made.detail), nil) }
    let wraps = try attempt { () throws(PKCS11Failure) in
      let wrapped = try session.wrapSecret(SecretBytes(copying: CryptokiSession.checkBytes), with: handle)
      return try isKnown(session.unwrapSecret(wrapped, with: handle))
    }
    note(.aes256KW, wraps, .aesKeyWrap)
    // Without it a key could not even be told from others.
    if !wraps.isOffered { result.findings[.generate(type)] = .absent(why: wraps.detail) }
  }

  // MARK: Import

  private mutating func probeImport() throws(PKCS11Failure) {
    for type in KeyType.offered {
      let ability = KeyProviderCapabilities.Ability.importing(type)
      switch type {
      case .rsa(bits: 2048), .ec, .aes: result.findings[ability] = try importing(type)
      case .rsa: break
      }
    }
    for type in [KeyType.rsa(bits: 3072), .rsa(bits: 4096)] {
      let smaller = result.findings[.importing(.rsa(bits: 2048))] ?? .absent(why: "not tried")
      let generates = result.findings[.generate(type)] ?? .absent(why: "not tried")
      result.findings[.importing(type)] = !smaller.isOffered ? smaller : generates.isOffered ? .declared : generates
    }
  }

  private func importing(_ type: KeyType) throws(PKCS11Failure) -> KeyProviderCapabilities.Evidence {
    try attempt { () throws(PKCS11Failure) in
      let key = try onHost { () throws(KeyCustodyError) in try ProbeKeys.shared.key(type) }
      let role: KeyRole = if case .ec = type { .signing } else { .wrapping }
      let objects = try session.importKey(key, KeyTemplates.Purpose(probing: type, role, id: id))
      defer { for object in objects { session.discard(object) } }
      switch type {
      case .aes:
        let known = SecretBytes(copying: CryptokiSession.checkBytes)
        let wrapped = try session.wrapSecret(known, with: objects[0])
        return isKnown(try onHost { () throws(KeyCustodyError) in try key.unwrap(wrapped, .aes256KW) })
      case .rsa:
        let known = SecretBytes(copying: CryptokiSession.checkBytes)
        let wrapped = try onHost { () throws(KeyCustodyError) in try key.wrap(known, .rsaOAEP) }
        return isKnown(try session.decrypt(.oaep(.rsaOAEP), key: objects[0], wrapped))
      case .ec:
        guard let publicKey = try publicKey(objects), let algorithm = SignatureAlgorithm.fitting(type).first else {
          return false
        }
        return try signs(objects[0], publicKey, algorithm) == .probed
      }
    }
  }
}
