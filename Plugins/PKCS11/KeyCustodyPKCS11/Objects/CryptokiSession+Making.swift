import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// Making, importing and destroying key versions.
extension CryptokiSession {
  /// Makes a key version inside the token.
  func generate(_ request: GenerateKeyRequest, allowsRawRSA: Bool) throws(PKCS11Failure) -> KeyDescription {
    try requireFree(request.version)
    let purpose = KeyTemplates.Purpose(request, allowsRawRSA: allowsRawRSA)
    let made = try generate(purpose)
    try requireSole(request.version, made)
    return try lookUp(request.version).description
  }

  /// Makes the objects of a key, lasting or of this session.
  func generate(_ purpose: KeyTemplates.Purpose) throws(PKCS11Failure) -> [CK_OBJECT_HANDLE] {
    let parameters = KeyTemplates.parameters(of: purpose.type)
    switch purpose.type {
    case .aes:
      return [try generateKey(.bare(CKM_AES_KEY_GEN), KeyTemplates.secretKey(purpose) + parameters)]
    case .rsa, .ec:
      let mechanism = if case .rsa = purpose.type { CKM_RSA_PKCS_KEY_PAIR_GEN } else { CKM_EC_KEY_PAIR_GEN }
      let pair = try generatePair(
        .bare(mechanism), publicKey: KeyTemplates.publicKey(purpose) + parameters,
        privateKey: KeyTemplates.privateKey(purpose))
      return [pair.privateKey, pair.publicKey]
    }
  }

  /// Brings a key version in from outside.
  func importKey(
    _ material: SecretBox, as request: GenerateKeyRequest, allowsRawRSA: Bool
  ) throws(PKCS11Failure) -> KeyDescription {
    let key = try onHost { () throws(KeyCustodyError) in try SoftwareKey.read(material.bytes, as: request.type) }
    try requireFree(request.version)
    let made = try importKey(key, KeyTemplates.Purpose(request, allowsRawRSA: allowsRawRSA))
    try requireSole(request.version, made)
    let found = try lookUp(request.version)
    guard try expectedFingerprint(key) == found.description.fingerprint else {
      for object in made { try? destroy(object) }
      keys[request.version] = nil
      token.fingerprints.forget(request.version)
      throw .custody(
        KeyCustodyError(
          .fault, .internalFault, "The token did not take the key as it was given; it was removed again.",
          diagnostic: "C_UnwrapKey"))
    }
    return found.description
  }

  /// Makes the objects of an imported key.
  ///
  /// The material travels wrapped under a key of this session: tokens refuse C_CreateObject for sensitive keys, and it
  /// keeps the value out of templates.
  func importKey(_ key: SoftwareKey, _ purpose: KeyTemplates.Purpose) throws(PKCS11Failure) -> [CK_OBJECT_HANDLE] {
    let transport = try onHost { () throws(KeyCustodyError) in try SystemRandom().secret(32) }
    let material = try onHost { () throws(KeyCustodyError) in try key.serialized() }
    let transportHandle = try create(KeyTemplates.transportKey, value: transport)
    defer { try? destroy(transportHandle) }
    if case .aes = purpose.type {
      let wrapped = try onHost { () throws(KeyCustodyError) in
        try transport.withBytes { (key) throws(KeyCustodyError) in try AES256KeyWrap.wrap(material, key: key) }
      }
      return [
        try unwrapKey(
          .bare(CKM_AES_KEY_WRAP), with: transportHandle, wrapped, as: KeyTemplates.secretKey(purpose))
      ]
    }
    let spki = try onHost { () throws(KeyCustodyError) in try key.publicKey() ?? [] }
    guard let publicAttributes = PublicKeyAttributes.template(of: spki, purpose.type) else {
      throw .custody(KeyCustodyError(.fault, .internalFault, "The key's public half could not be read."))
    }
    let wrapped = try onHost { () throws(KeyCustodyError) in
      try transport.withBytes { (key) throws(KeyCustodyError) in try KeyWrapPadding.wrap(material, key: key) }
    }
    // The public half first: alone it is no key, so a crash in between leaves nothing that could be used.
    let publicHandle = try create(KeyTemplates.publicKey(purpose) + publicAttributes)
    do {
      let privateHandle = try unwrapKey(
        .bare(CKM_AES_KEY_WRAP_PAD), with: transportHandle, wrapped, as: KeyTemplates.privateKey(purpose))
      return [privateHandle, publicHandle]
    } catch {
      try? destroy(publicHandle)
      throw error
    }
  }

  private func expectedFingerprint(_ key: SoftwareKey) throws(PKCS11Failure) -> [UInt8] {
    try onHost { () throws(KeyCustodyError) in
      if let spki = try key.publicKey() { return try Hashing.sha256(spki) }
      let wrapped = try key.wrap(SecretBytes(copying: Self.checkBytes), .aes256KW)
      return try Self.checkValue(wrapped)
    }
  }

  /// Destroys a key version: the private half first, so that a cut-off destruction leaves no usable key.
  ///
  /// Running it again finishes it.
  func destroyKey(_ version: KeyVersionID) throws(PKCS11Failure) {
    keys[version] = nil
    let handles = try handles(of: version)
    if handles.isEmpty {
      try confirmPresence()
      throw .custody(Self.unknown(version))
    }
    guard !handles.isAmbiguous else { throw .custody(Self.ambiguous(version)) }
    for handle in handles.privates + handles.secrets + handles.publics { try destroy(handle) }
    token.fingerprints.forget(version)
  }

  /// The names of all key versions on the token, in order.
  func inventory() throws(PKCS11Failure) -> [KeyVersionID] {
    try confirmPresence()
    var names: Set<KeyVersionID> = []
    for kind in [CKO_PRIVATE_KEY, CKO_SECRET_KEY] {
      let template = Template([(CKA_CLASS, .number(kind)), (CKA_TOKEN, .flag(true))])
      for handle in try find(template, limit: .max) {
        // Objects that are not ours, and those a killed process left half made, have no name of ours.
        guard let id = try read([CKA_ID], of: handle)[CKA_ID], let name = try? KeyVersionID(id.hexadecimal) else {
          continue
        }
        names.insert(name)
      }
    }
    return names.sorted()
  }

  private func requireFree(_ version: KeyVersionID) throws(PKCS11Failure) {
    guard try handles(of: version).isEmpty else {
      throw .custody(
        KeyCustodyError(
          .invalidInput, .alreadyExists, "The token holds objects of the name \(version) already.",
          remedy: "Choose another name; what a destruction left half done, destroying it again removes."))
    }
    try confirmPresence()
  }

  /// Another process may have made the same name since the look before.
  ///
  /// Then ours goes.
  private func requireSole(_ version: KeyVersionID, _ made: [CK_OBJECT_HANDLE]) throws(PKCS11Failure) {
    let found = try handles(of: version)
    guard found.isAmbiguous || found.privates.count + found.secrets.count + found.publics.count != made.count else {
      return
    }
    for object in made { try destroy(object) }
    throw .custody(
      KeyCustodyError(
        .busy, .alreadyExists, "Another process made the key version \(version) at the same moment; ours was removed.",
        remedy: "Look it up before trying again.", retryAfter: .milliseconds(100)))
  }
}
