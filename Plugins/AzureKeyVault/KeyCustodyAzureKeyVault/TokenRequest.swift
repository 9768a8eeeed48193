import KeyCustody
import KeyCustodyCrypto

/// Asks for a token by one kind of credential, and reads what comes back.
struct TokenRequest: Sendable {
  let settings: CheckedSettings
  let environment: RuntimeEnvironment
  /// Reads the secret's file.
  let worker: BlockingWorker

  /// A request that holds the secret.
  struct Prepared: Sendable {
    let ask: HTTPAsk
    /// Tells one secret from another, so that a refused one is known again.
    let digest: [UInt8]
  }

  /// Reads the secret, and puts the request for a token together.
  ///
  /// - Throws: what reading the secret throws.
  func prepare(for resource: WebAddress) async throws(KeyCustodyError) -> Prepared {
    switch settings.settings.credential {
    case .clientSecret(_, let clientID, let reference):
      let secret = try await load(reference)
      let fields = [
        ("grant_type", "client_credentials"), ("client_id", clientID), ("scope", "\(resource.text)/.default"),
      ]
      let head = fields.map { "\($0.0)=\(Self.escaped($0.1))" }.joined(separator: "&") + "&client_secret="
      let body = Self.escaped(secret).preceded(by: Array(head.utf8))
      let ask = HTTPAsk(
        method: .post, address: "\(settings.tokens.text)/oauth2/v2.0/token",
        body: HTTPAsk.Body(body, type: "application/x-www-form-urlencoded"))
      return Prepared(ask: ask, digest: try Self.digest(secret))
    case .managedIdentity(_, let reference, let clientID):
      let secret = try await load(reference)
      var address =
        "\(settings.tokens.text)?api-version=2019-08-01&resource=\(Self.escaped(resource.text))"
      if let clientID { address += "&client_id=\(Self.escaped(clientID))" }
      // A header is a string, which can't be cleared.
      let header = secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
      guard !header.isEmpty, header.allSatisfy({ (0x21...0x7e).contains($0) }) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The identity header has characters that no header may have.",
          remedy: "Take the value of IDENTITY_HEADER that the platform gives.")
      }
      let ask = HTTPAsk(
        method: .get, address: address,
        headers: [("x-identity-header", String(decoding: header, as: UTF8.self))])
      return Prepared(ask: ask, digest: try Self.digest(secret))
    }
  }

  private func load(_ reference: SecretReference) async throws(KeyCustodyError) -> SecretBytes {
    let environment = environment
    return try await worker.run { () throws(KeyCustodyError) in try reference.load(environment) }
  }

  private static func digest(_ secret: borrowing SecretBytes) throws(KeyCustodyError) -> [UInt8] {
    let digest = try secret.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.hmac(.sha256, key: bytes, [Array("key-custody/v1/refused".utf8)])
    }
    return digest.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  /// Reads a token out of a reply.
  ///
  /// - Parameter begun: when it was asked for, in running time.
  /// - Throws: `credentialRejected` (`wrong-secret`); `invalidInput`; `unavailable`, `busy`.
  func token(from reply: HTTPReply, resource: WebAddress, begun: Duration) throws(KeyCustodyError) -> AccessToken {
    let source = settings.tokens.authority
    let body = try? JSON(reply.body)
    switch reply.status {
    case 200: break
    case 400, 401, 403:
      let code = body?["error"]?.string ?? ""
      let diagnostic = "status \(reply.status), \(Self.shown(code))"
      guard !["invalid_scope", "invalid_request", "invalid_resource", "invalid_target"].contains(code) else {
        throw KeyCustodyError(
          .invalidInput, .backendMismatch, "'\(source)' gives no tokens for '\(resource.text)'.",
          remedy: "Check that 'authority' has the vault's tenant.", diagnostic: diagnostic)
      }
      // Anybody on the way answers with such a status; who the words are of is certain.
      guard Self.refusals.contains(code) else {
        throw KeyCustodyError(
          .unavailable, .badAnswer, "'\(source)' gives no tokens: it answered with status \(reply.status).",
          remedy: "Check 'authority' or 'identityEndpoint', and what is between here and there.", diagnostic: diagnostic
        )
      }
      throw KeyCustodyError(
        .credentialRejected, .wrongSecret, "'\(source)' refused the credential for the vault.",
        remedy: "Check the client and its secret. The secret is not shown again before it is changed.",
        diagnostic: diagnostic)
    case 429:
      throw KeyCustodyError(
        .busy, .unreachable, "'\(source)' gives no more tokens for now.", retryAfter: reply.retryAfter ?? .seconds(1))
    case 408, 500...599:
      throw KeyCustodyError(
        .unavailable, .unreachable, "'\(source)' gives no tokens: it answered with status \(reply.status).",
        retryAfter: reply.retryAfter)
    default:
      throw KeyCustodyError(
        .unavailable, .badAnswer, "'\(source)' gives no tokens: it answered with status \(reply.status).",
        remedy: "Check 'authority' or 'identityEndpoint'.")
    }
    guard let body, let text = body["access_token"]?.string, (1...16384).contains(text.utf8.count),
      text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }), let lifetime = lifetime(body)
    else {
      throw KeyCustodyError(
        .unavailable, .badAnswer, "'\(source)' gave something that is no token.",
        remedy: "Check 'authority' or 'identityEndpoint'.")
    }
    return AccessToken(text: text, begun: begun, lifetime: lifetime)
  }

  /// What an authority says of a client that it does not let in (RFC 6749, section 5.2), and a managed identity's endpoint.
  private static let refusals: Set = [
    "invalid_client", "unauthorized_client", "invalid_grant", "access_denied", "denied",
  ]

  /// How long a token lives, by what is said of that: a number, or a text of one.
  private func lifetime(_ body: JSON) -> Duration? {
    func number(_ value: JSON?) -> Int64? { value?.integer ?? value?.string.flatMap { Int64($0) } }
    let now = environment.time.now().seconds
    guard let seconds = number(body["expires_in"]) ?? number(body["expires_on"]).map({ $0 - now }) else { return nil }
    return .seconds(min(max(seconds, 0), 86400))
  }

  /// A code of an error, if it looks like one.
  static func shown(_ code: String) -> String {
    String(code.prefix(60).filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-") })
  }

  /// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
  static func escaped(_ text: String) -> String {
    text.utf8.map { isUnreserved($0) ? String(UnicodeScalar($0)) : "%" + [$0].hexadecimal }.joined()
  }

  private static func escaped(_ secret: borrowing SecretBytes) -> SecretBytes {
    secret.withBytes { bytes in
      let count = (0..<bytes.byteCount).reduce(0) { $0 + (isUnreserved(bytes[$1]) ? 1 : 3) }
      return SecretBytes(count: count) { output in
        var offset = 0
        func put(_ byte: UInt8, _ output: inout MutableRawSpan) {
          output.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
          offset += 1
        }
        for index in 0..<bytes.byteCount {
          let byte = bytes[index]
          if isUnreserved(byte) {
            put(byte, &output)
          } else {
            put(UInt8(ascii: "%"), &output)
            for half in [byte >> 4, byte & 15] { put(half < 10 ? 48 + half : 55 + half, &output) }
          }
        }
      }
    }
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    WebAddress.isAlphanumeric(byte) || "-._~".utf8.contains(byte)
  }
}

/// A bearer token, and how long it is used.
struct AccessToken: Sendable, Equatable {
  let text: String
  /// From when on another one is asked for, in the background.
  let renew: Duration
  /// Until when it is shown.
  let end: Duration

  init(text: String, begun: Duration, lifetime: Duration) {
    self.text = text
    renew = begun + lifetime * 3 / 4
    // A request that shows it must arrive before it ends.
    end = begun + lifetime - min(.seconds(30), lifetime / 10)
  }
}
