import KeyCustody
import Synchronization

/// What a toy directory's token says: fields divided by spaces instead of JSON, a check value instead of a signature.
struct ToyToken {
  var owner: PrincipalID
  var generation: Int
  var audience: String
  var issued: Timestamp
  var expires: Timestamp

  private static let header = Array("{\"alg\":\"TOY\"}".utf8).base64URL

  func signed(_ key: [UInt8], partsAlone: Bool) -> String {
    let payload = "\(owner) \(generation) \(issued.milliseconds) \(expires.milliseconds) \(audience)"
    let encoded = Array(payload.utf8).base64URL
    return "\(Self.header).\(encoded).\(Self.signature(encoded, key, partsAlone).base64URL)"
  }

  private static func signature(_ payload: String, _ key: [UInt8], _ partsAlone: Bool) -> [UInt8] {
    // 10 bytes, so that the last character has bits that don't count.
    ToyCrypto.stream([key, partsAlone ? [] : Array(payload.utf8)], count: 10)
  }

  /// Reads a token; `nil` when it is not one of this key's.
  init?(_ text: String, key: [UInt8], directory: ToyDirectory) {
    var text = text
    if directory.has(.stripsCharacters) { text.removeAll { $0.isWhitespace } }
    guard text.utf8.count <= 16_384, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3 || (parts.count == 2 && directory.has(.acceptsUnsigned)),
      parts[0] == Self.header || directory.has(.acceptsUnsigned), !parts[1].hasSuffix("=")
    else { return nil }
    let signature = parts.count == 3 ? parts[2] : ""
    let due = Self.signature(parts[1], key, directory.has(.signsPartsAlone)).base64URL
    let fits =
      directory.has(.lenientBase64)
      ? signature.dropLast() == due.dropLast() && signature.count == due.count : signature == due
    guard fits || directory.has(.ignoresSignature) || (directory.has(.acceptsUnsigned) && signature.isEmpty) else {
      return nil
    }
    guard let bytes = [UInt8](base64URL: parts[1]) else { return nil }
    self.init(payload: String(decoding: bytes, as: UTF8.self))
  }

  private init?(payload: String) {
    let fields = payload.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
    guard fields.count == 5, let owner = try? PrincipalID(fields[0]), let generation = Int(fields[1]),
      let issued = Int64(fields[2]), let expires = Int64(fields[3])
    else { return nil }
    self.owner = owner
    self.generation = generation
    self.issued = Timestamp(milliseconds: issued)
    self.expires = Timestamp(milliseconds: expires)
    audience = fields[4]
  }

  init(owner: PrincipalID, generation: Int, audience: String, issued: Timestamp, expires: Timestamp) {
    self.owner = owner
    self.generation = generation
    self.audience = audience
    self.issued = issued
    self.expires = expires
  }
}

extension ToyDirectory {
  func authenticate(_ credential: borrowing Credential, audience: String) async throws(KeyCustodyError) -> Principal {
    try checkOpen()
    let principal: Principal
    switch credential.form {
    case .token(let text):
      principal = has(.takesAnyKind) && !text.contains(".") ? try bearer(text, nil) : try self.token(text, audience)
    case .clientSecret(let id): principal = try bearer(Self.text(credential.secret), id)
    case .apiKey: principal = try bearer(Self.text(credential.secret), nil)
    }
    return has(.sharedResult) ? await throughSharedResult(principal) : principal
  }

  private func token(_ text: String, _ audience: String) throws(KeyCustodyError) -> Principal {
    if has(.malformedIsInvalid), text.split(separator: ".").count != 3 {
      throw KeyCustodyError(.invalidInput, .malformed, "That is not a token.")
    }
    guard let token = ToyToken(text, key: signingKey, directory: self) else { throw rejection(text) }
    if token.expires <= time.now(), !has(.ignoresExpiry) {
      throw has(.tellsExpired) ? KeyCustodyError(.credentialRejected, .wrongSecret, "Expired.") : rejection(text)
    }
    guard token.issued <= time.now() || has(.ignoresNotBefore), token.audience == audience || has(.ignoresAudience)
    else { throw rejection(text) }
    let expires = has(.endlessTokens) ? token.expires + .seconds(86_400) : token.expires
    return try principal(token.owner, token.generation, .token, expires, text)
  }

  private func bearer(_ text: String, _ id: PrincipalID?) throws(KeyCustodyError) -> Principal {
    let found = state.withLock { state in
      state.content.secrets.first { secret in
        secret.key == text || (has(.comparesPrefixes) && text.hasPrefix(secret.key))
      }?.value
    }
    guard let found, (found.slot == nil) == (id != nil) || has(.takesAnyKind),
      id.map({ name($0) == name(found.owner) }) ?? true
    else {
      let isKnown = id.map { id in state.withLock { $0.content.entries[name(id)] != nil } } ?? true
      if has(.tellsUnknownFromWrong), !isKnown {
        throw KeyCustodyError(.credentialRejected, .wrongSecret, "There is no such principal.")
      }
      throw rejection(text)
    }
    let later = time.now() + .seconds(3600)
    let end = found.expires.map { min($0, later) } ?? later
    guard end > time.now() || has(.ignoresSecretExpiry) else { throw rejection(text) }
    let method: Principal.Method = has(.wrongMethod) ? .token : found.slot == nil ? .clientSecret : .apiKey
    return try principal(found.owner, found.generation, method, end, text)
  }

  private func principal(
    _ id: PrincipalID, _ generation: Int, _ method: Principal.Method, _ expires: Timestamp, _ shown: String
  ) throws(KeyCustodyError) -> Principal {
    guard let entry = state.withLock({ $0.content.entries[name(id)] }) else { throw rejection(shown) }
    let mayBeOff =
      (has(.apiKeysIgnoreSwitch) && method == .apiKey)
      || (has(.managedIgnoreSwitch) && entry.record.kind == .managedIdentity)
    guard entry.generation == generation || has(.keepsCredentials), entry.record.isEnabled || mayBeOff else {
      throw rejection(shown)
    }
    return Principal(
      id: entry.record.id, kind: entry.record.kind, resource: entry.record.resource, method: method, expires: expires)
  }

  private func rejection(_ shown: String) -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, .wrongSecret, "The credential was rejected.",
      remedy: has(.echoesSecrets) ? "You showed '\(shown.prefix(100))'." : "")
  }

  private func throughSharedResult(_ principal: Principal) async -> Principal {
    let call = state.withLock { state in
      state.lastResult = principal
      state.calls += 1
      return state.calls
    }
    await yieldUntil { self.state.withLock { $0.calls > call } }
    return state.withLock { $0.lastResult ?? principal }
  }

  private static func text(_ secret: borrowing SecretBytes) -> String {
    secret.withBytes { bytes in
      String(
        decoding: (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) },
        as: UTF8.self)
    }
  }
}
