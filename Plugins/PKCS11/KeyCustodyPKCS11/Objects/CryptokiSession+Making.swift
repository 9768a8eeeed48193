import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Making, importing and destroying key versions.
extension CryptokiSession {
  /// Makes a key version inside the token.
  ///
  /// May be run again after it failed with the same `progress`: what the failed run left is found and taken, or removed.
  func generate(
    _ request: GenerateKeyRequest, allowsRawRSA: Bool, _ progress: Progress
  ) throws(PKCS11Failure) -> KeyDescription {
    if let made = try whatWasMade(request, progress) { return made.description }
    let purpose = KeyTemplates.Purpose(request, allowsRawRSA: allowsRawRSA)
    progress.begin()
    let made = try generate(purpose)
    try requireSole(request.version, made)
    return try lookUp(request.version).description
  }

  /// Whether work that makes or destroys objects has come to where the token may have acted.
  final class Progress: Sendable {
    private let begun = Atomic<Bool>(false)
    var isBegun: Bool { begun.load(ordering: .acquiring) }
    func begin() { begun.store(true, ordering: .releasing) }
  }

  /// At the first run the name must be free; at another, what the run before left is whole, or is removed.
  private func whatWasMade(_ request: GenerateKeyRequest, _ progress: Progress) throws(PKCS11Failure) -> TokenKey? {
    guard progress.isBegun else {
      try requireFree(request.version)
      return nil
    }
    let found = try surely { () throws(PKCS11Failure) in try handles(of: request.version) }
    guard !found.isEmpty else { return nil }
    // Two of a kind are not what one run leaves: somebody else's may be among them.
    guard !found.isAmbiguous else { throw .custody(Self.ambiguous(request.version)) }
    let isWhole = !found.secrets.isEmpty || !found.privates.isEmpty && !found.publics.isEmpty
    if isWhole, let key = try keyThatFits(request) { return key }
    for handle in found.privates + found.secrets + found.publics { try destroy(handle) }
    return nil
  }

  private func keyThatFits(_ request: GenerateKeyRequest) throws(PKCS11Failure) -> TokenKey? {
    do throws(PKCS11Failure) {
      let key = try lookUp(request.version)
      return key.description.type == request.type && key.description.role == request.role ? key : nil
    } catch {
      // What our templates did not make so is no key of ours; what the token failed at is tried again.
      guard case .custody = error else { throw error }
      return nil
    }
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
  ///
  /// May be run again after it failed, as ``generate(_:allowsRawRSA:_:)``.
  func importKey(
    _ key: SoftwareKey, as request: GenerateKeyRequest, allowsRawRSA: Bool, _ progress: Progress
  ) throws(PKCS11Failure) -> KeyDescription {
    let expected = try expectedFingerprint(key)
    if let made = try whatWasMade(request, progress) {
      if made.description.fingerprint == expected { return made.description }
      try remove(request.version, [made.handle] + [made.publicHandle].compactMap { $0 })
    }
    progress.begin()
    let made = try importKey(key, KeyTemplates.Purpose(request, allowsRawRSA: allowsRawRSA))
    try requireSole(request.version, made)
    let found = try lookUp(request.version)
    guard expected == found.description.fingerprint else {
      try remove(request.version, made)
      throw .custody(
        KeyCustodyError(
          .fault, .internalFault, "The token did not take the key as it was given; it was removed again.",
          diagnostic: "C_UnwrapKey"))
    }
    return found.description
  }

  private func remove(_ version: KeyVersionID, _ objects: [CK_OBJECT_HANDLE]) throws(PKCS11Failure) {
    token.keys.forget(version)
    token.fingerprints.forget(version)
    for object in objects { try destroy(object) }
  }

  /// Makes the objects of an imported key.
  ///
  /// The material travels wrapped under a key of this session: tokens refuse C_CreateObject for sensitive keys, and it
  /// keeps the value out of templates.
  func importKey(_ key: SoftwareKey, _ purpose: KeyTemplates.Purpose) throws(PKCS11Failure) -> [CK_OBJECT_HANDLE] {
    let transport = try onHost { () throws(KeyCustodyError) in try OpenSSLRandom().secret(32) }
    let material = try onHost { () throws(KeyCustodyError) in try key.serialized() }
    let transportHandle = try create(KeyTemplates.transportKey, value: transport)
    defer { discard(transportHandle) }
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
  func destroyKey(_ version: KeyVersionID, _ progress: Progress) throws(PKCS11Failure) {
    token.keys.forget(version)
    let handles = try surely { () throws(PKCS11Failure) in try self.handles(of: version) }
    if handles.isEmpty {
      let absence = try absence(of: version)
      guard progress.isBegun else { throw absence }
    }
    guard !handles.isAmbiguous else { throw .custody(Self.ambiguous(version)) }
    progress.begin()
    for handle in handles.privates + handles.secrets + handles.publics {
      do throws(PKCS11Failure) { try destroy(handle) } catch {
        // Another process may have been quicker with this object; the search below tells.
        guard error.code == CKR_OBJECT_HANDLE_INVALID else { throw error }
      }
    }
    let left = try surely { () throws(PKCS11Failure) in try self.handles(of: version) }
    guard left.isEmpty else { throw .code(CKR_OBJECT_HANDLE_INVALID, "C_DestroyObject") }
    // Somebody may have looked it up meanwhile.
    token.keys.forget(version)
    token.fingerprints.forget(version)
  }

  /// The names of all key versions on the token, in order.
  func inventory() throws(PKCS11Failure) -> [KeyVersionID] {
    try surely { () throws(PKCS11Failure) in try names() }
  }

  private func names() throws(PKCS11Failure) -> [KeyVersionID] {
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
    guard try surely({ () throws(PKCS11Failure) in try handles(of: version) }).isEmpty else {
      throw .custody(
        KeyCustodyError(
          .invalidInput, .alreadyExists, "The token holds objects of the name \(version) already.",
          remedy: "Choose another name; what a destruction left half done, destroying it again removes."))
    }
  }

  /// Another process may have made the same name since the look before.
  ///
  /// Then ours goes.
  private func requireSole(_ version: KeyVersionID, _ made: [CK_OBJECT_HANDLE]) throws(PKCS11Failure) {
    let found = try handles(of: version)
    guard found.isAmbiguous || found.privates.count + found.secrets.count + found.publics.count != made.count else {
      return
    }
    // What does not see our own says nothing of others'.
    guard made.allSatisfy({ !found.lacks($0) }) else {
      try confirmPresence()
      throw .code(CKR_DEVICE_ERROR, "C_FindObjects (what was made)")
    }
    for object in made { try destroy(object) }
    throw .custody(
      KeyCustodyError(
        .busy, .alreadyExists, "Another process made the key version \(version) at the same moment; ours was removed.",
        remedy: "Look it up before trying again.", retryAfter: .milliseconds(100)))
  }
}
