import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// A key version as a session found it on the token.
struct TokenKey: Sendable {
  /// The private or secret key.
  let handle: CK_OBJECT_HANDLE
  /// The public half, where it is there.
  let publicHandle: CK_OBJECT_HANDLE?
  /// The public half, ready for use on the host.
  let publicKey: PublicKey?
  /// Everything that may be told.
  let description: KeyDescription
  /// What the key may be used with; `nil` when the token does not tell.
  let mechanisms: [CK_MECHANISM_TYPE]?
  /// Whether every attribute that was asked for was there.
  let isWhole: Bool
}

/// The handles that carry one key version's name.
struct KeyHandles: Sendable {
  var privates: [CK_OBJECT_HANDLE] = []
  var publics: [CK_OBJECT_HANDLE] = []
  var secrets: [CK_OBJECT_HANDLE] = []

  var isEmpty: Bool { privates.isEmpty && publics.isEmpty && secrets.isEmpty }
  /// Adds a key object; others don't count.
  mutating func add(_ handle: CK_OBJECT_HANDLE, _ kind: CK_ULONG) {
    switch kind {
    case CKO_PRIVATE_KEY: privates.append(handle)
    case CKO_PUBLIC_KEY: publics.append(handle)
    case CKO_SECRET_KEY: secrets.append(handle)
    default: break
    }
  }

  func lacks(_ handle: CK_OBJECT_HANDLE) -> Bool { !(privates + publics + secrets).contains(handle) }

  /// Whether only a public half is left, of a key whose destruction or making was cut off.
  var isLeftover: Bool { privates.isEmpty && secrets.isEmpty && !publics.isEmpty }
  /// Whether two objects share a class, or a pair and a secret key share the name.
  var isAmbiguous: Bool {
    publics.count > 1 || privates.count + secrets.count > 1 || !secrets.isEmpty && !publics.isEmpty
  }
}

extension CryptokiSession {
  /// The key objects of a name, searched for.
  ///
  /// Certificates and data of the same CKA_ID don't count.
  func handles(of version: KeyVersionID) throws(PKCS11Failure) -> KeyHandles {
    let template = Template([(CKA_TOKEN, .flag(true)), (CKA_ID, .bytes(version.bytes))])
    var result = KeyHandles()
    for handle in try find(template, limit: 64) {
      // Every object has a class (PKCS #11 v3.1, 4.2): without one it went away since it was found.
      guard let kind = CK_ULONG(octets: try read([CKA_CLASS], of: handle)[CKA_CLASS]) else {
        throw .code(CKR_OBJECT_HANDLE_INVALID, "C_GetAttributeValue")
      }
      result.add(handle, kind)
    }
    return result
  }

  /// The key objects of a name, from the names read before where they are known.
  private func knownHandles(of version: KeyVersionID) throws(PKCS11Failure) -> KeyHandles {
    if let known = token.keys.handles(version, standing) {
      // Objects come and go under other processes' hands; the name is compared before anything is believed.
      let all = known.privates + known.secrets + known.publics
      var isSame = true
      for handle in all where isSame {
        let found = try? read([CKA_ID], of: handle)
        isSame = found?[CKA_ID] == version.bytes
      }
      // A public half alone may have been read while its pair was in the making.
      if isSame, !known.privates.isEmpty || !known.secrets.isEmpty { return known }
      token.keys.forget(version)
    }
    let start = ContinuousClock.now
    let handles = try handles(of: version)
    if token.keys.noteSearch(ContinuousClock.now - start, standing) { try readAllNames() }
    return handles
  }

  /// Reads the name and class of every key object, in at most two seconds: where a device takes longer, searching it is
  /// quicker.
  private func readAllNames() throws(PKCS11Failure) {
    let start = ContinuousClock.now
    var names: [KeyVersionID: KeyHandles] = [:]
    for kind in [CKO_PRIVATE_KEY, CKO_SECRET_KEY, CKO_PUBLIC_KEY] {
      for handle in try find(Template([(CKA_CLASS, .number(kind)), (CKA_TOKEN, .flag(true))]), limit: .max) {
        guard ContinuousClock.now - start < .seconds(2) else { return }
        guard let id = try read([CKA_ID], of: handle)[CKA_ID], let name = try? KeyVersionID(id.hexadecimal) else {
          continue
        }
        names[name, default: KeyHandles()].add(handle, kind)
      }
    }
    token.keys.keep(names, standing)
  }

  /// Works with a key.
  ///
  /// Where a handle kept from before is refused, the key is looked up once more and compared.
  func withKey<Result: ~Copyable>(
    _ version: KeyVersionID, _ work: (TokenKey) throws(PKCS11Failure) -> Result
  ) throws(PKCS11Failure) -> Result {
    guard let kept = token.keys.key(version, standing) else { return try fresh(version, work) }
    do {
      // Whoever initialised an adopted module may have started it anew unseen: then the handle is another key's.
      if token.module.isAdopted { try requireName(version, of: kept) }
      return try work(kept)
    } catch {
      guard error.meansHandleIsGone else { throw try believed(error) }
      return try fresh(version, work)
    }
  }

  private func fresh<Result: ~Copyable>(
    _ version: KeyVersionID, _ work: (TokenKey) throws(PKCS11Failure) -> Result
  ) throws(PKCS11Failure) -> Result {
    let key = try lookUp(version)
    do { return try work(key) } catch { throw try believed(error) }
  }

  /// A failure, where it is no refusal, or one of a token that is seen to be there after it.
  ///
  /// A token that is going away shows keys without their values, and refuses to use them.
  private func believed(_ failure: PKCS11Failure) throws(PKCS11Failure) -> PKCS11Failure {
    if failure.isRefusal { try confirmPresence() }
    return failure
  }

  /// Checks that a kept handle still is the key of that name.
  func requireName(_ version: KeyVersionID, of key: TokenKey) throws(PKCS11Failure) {
    guard try read([CKA_ID], of: key.handle)[CKA_ID] == version.bytes else {
      throw .code(CKR_OBJECT_HANDLE_INVALID, "C_GetAttributeValue")
    }
  }

  /// Finds a key and reads what it is.
  ///
  /// - Throws: `notFound` only when the token answers and the session is logged in.
  func lookUp(_ version: KeyVersionID) throws(PKCS11Failure) -> TokenKey {
    do { return try find(version) } catch { throw try believed(error) }
  }

  private func find(_ version: KeyVersionID) throws(PKCS11Failure) -> TokenKey {
    let handles = try knownHandles(of: version)
    if handles.isEmpty || handles.isLeftover { throw try absence(of: version) }
    guard !handles.isAmbiguous else { throw .custody(Self.ambiguous(version)) }
    let key = try describe(handles, version)
    // What is noted here decides which key this is from now on; one flipped bit must not.
    if !token.fingerprints.agree(key.description.fingerprint, version) {
      guard try describe(handles, version).description.fingerprint == key.description.fingerprint else {
        throw .code(CKR_DEVICE_ERROR, "C_GetAttributeValue (checked)")
      }
    }
    try onHost { () throws(KeyCustodyError) in
      try token.fingerprints.check(key.description.fingerprint, of: version, epoch: standing.epoch)
    }
    token.keys.keep(key, version, standing)
    return key
  }

  /// Reads what a key is.
  ///
  /// Of a token that is going away some attributes may be missing; only where it is surely there is that so.
  private func describe(_ handles: KeyHandles, _ version: KeyVersionID) throws(PKCS11Failure) -> TokenKey {
    if case .success(let key) = try readable(handles, version), key.isWhole { return key }
    // A refusal too is believed only when the token is seen to be there after it.
    let finding = try surely { () throws(PKCS11Failure) in try readable(try self.handles(of: version), version) }
    switch finding {
    case .success(let key): return key
    case .failure(let refusal): throw .custody(refusal)
    }
  }

  /// The key, or why it is none of ours.
  private func readable(
    _ handles: KeyHandles, _ version: KeyVersionID
  ) throws(PKCS11Failure) -> Result<TokenKey, KeyCustodyError> {
    do throws(PKCS11Failure) { return .success(try read(handles, version)) } catch {
      guard case .custody(let refusal) = error, refusal.reason == Self.foreignKey else { throw error }
      return .failure(refusal)
    }
  }

  private func read(_ handles: KeyHandles, _ version: KeyVersionID) throws(PKCS11Failure) -> TokenKey {
    if let secret = handles.secrets.first { return try describeSecret(secret, version) }
    guard let privateKey = handles.privates.first else { throw .custody(Self.unknown(version)) }
    return try describePair(privateKey, handles.publics.first, version)
  }

  /// What is said of a key that is not found: that there is none, where the token shows its other objects, and where the
  /// module was started anew since the key was last there.
  func absence(of version: KeyVersionID) throws(PKCS11Failure) -> PKCS11Failure {
    let handles = try surely { () throws(PKCS11Failure) in try self.handles(of: version) }
    // The search before this one was blind.
    guard handles.isEmpty || handles.isLeftover else { return .code(CKR_OBJECT_HANDLE_INVALID, "C_FindObjects") }
    let wasThere = token.fingerprints.wasFound(version, in: standing.epoch) && !token.module.isAdopted
    return wasThere ? .lostKey(version) : .custody(Self.unknown(version))
  }

  static func unknown(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, .keyVersionUnknown, "The token holds no key version \(version).",
      remedy: "If it was there, restore the token from its backup.")
  }

  static func ambiguous(_ version: KeyVersionID) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .init("duplicate-objects"),
      "The token holds several objects of one class under the name \(version) (CKA_ID), so which is meant is unknown.",
      remedy: "Remove the wrong one with the vendor's tool, for instance: pkcs11-tool --delete-object --id \(version).")
  }

  private static let described: [CK_ATTRIBUTE_TYPE] = [
    CKA_KEY_TYPE, CKA_LABEL, CKA_LOCAL, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
    CKA_MODIFIABLE, CKA_ALLOWED_MECHANISMS,
  ]

  private func describeSecret(
    _ handle: CK_OBJECT_HANDLE, _ version: KeyVersionID
  ) throws(PKCS11Failure) -> TokenKey {
    let types = Self.described + [CKA_VALUE_LEN, CKA_WRAP, CKA_UNWRAP, CKA_DECRYPT]
    let values = KeyAttributes(try read(types, of: handle))
    let length = values.number(CKA_VALUE_LEN) ?? 0
    guard values.number(CKA_KEY_TYPE) == CKK_AES, length == 32 || length == 0 else {
      throw .custody(Self.foreign(version, "it is not an AES-256 key"))
    }
    guard values.flag(CKA_UNWRAP), !values.flag(CKA_DECRYPT) else {
      throw .custody(Self.foreign(version, "its usages are not those of a wrapping key alone"))
    }
    let check = try checkValue(of: handle)
    return TokenKey(
      handle: handle, publicHandle: nil, publicKey: nil,
      description: values.description(
        version, .aes(bits: 256), .wrapping, publicKey: nil, fingerprint: check,
        remarks: length == 0 ? ["The token does not tell the key's length."] : []),
      mechanisms: values.mechanisms, isWhole: values.values.count == types.count)
  }

  /// What tells an AES key from others: SHA-256 of a fixed value wrapped under it.
  ///
  /// The value is public, and so is the wrapped form; neither tells anything of the key.
  private func checkValue(of handle: CK_OBJECT_HANDLE) throws(PKCS11Failure) -> [UInt8] {
    let wrapped = try wrapSecret(SecretBytes(copying: Self.checkBytes), with: handle)
    return try onHost { () throws(KeyCustodyError) in try Self.checkValue(wrapped) }
  }

  static func checkValue(_ wrapped: [UInt8]) throws(KeyCustodyError) -> [UInt8] {
    try Hashing.digest(.sha256, Array("key-custody/v1/fingerprint".utf8), wrapped)
  }

  /// 32 bytes, known to all.
  static let checkBytes = Array("key-custody/v1/known-check-bytes".utf8)

  private func describePair(
    _ handle: CK_OBJECT_HANDLE, _ publicHandle: CK_OBJECT_HANDLE?, _ version: KeyVersionID
  ) throws(PKCS11Failure) -> TokenKey {
    let common = Self.described + [CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN]
    let values = KeyAttributes(try read(common + [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS], of: handle))
    let half = try publicHandle.map { (half) throws(PKCS11Failure) in
      try read([CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT], of: half)
    }
    guard let spki = PublicKeyAttributes.subjectPublicKeyInfo(privateKey: values.values, publicKey: half) else {
      throw .custody(Self.foreign(version, "its public half is missing, or of a type that is not offered"))
    }
    let role: KeyRole
    switch (values.flag(CKA_UNWRAP) || values.flag(CKA_DECRYPT), values.flag(CKA_SIGN)) {
    case (true, false): role = .wrapping
    case (false, true): role = .signing
    case (true, true): role = .general
    case (false, false): throw .custody(Self.foreign(version, "it neither unwraps nor signs"))
    }
    return try onHost { () throws(KeyCustodyError) in
      let publicKey = try PublicKey(spki: spki)
      guard publicKey.type.roles.contains(role) else {
        throw Self.foreign(version, "its usages are not those of a key of type \(publicKey.type)")
      }
      return TokenKey(
        handle: handle, publicHandle: publicHandle, publicKey: publicKey,
        description: values.description(
          version, publicKey.type, role, publicKey: spki,
          fingerprint: try Hashing.sha256(spki),
          remarks: publicHandle == nil ? ["The public half is missing on the token."] : []),
        mechanisms: values.mechanisms, isWhole: publicHandle != nil && common.allSatisfy { values.values[$0] != nil })
    }
  }

  private static let foreignKey = KeyCustodyError.Reason("foreign-key")

  private static func foreign(_ version: KeyVersionID, _ why: String) -> KeyCustodyError {
    KeyCustodyError(
      .unsupported, foreignKey, "The token's key \(version) can't be used here: \(why).",
      remedy: "Use a key that this service made or imported.")
  }
}
