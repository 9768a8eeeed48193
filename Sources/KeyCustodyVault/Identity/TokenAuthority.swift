import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Issues and verifies the directory's tokens: JWTs (RFC 7519) signed by a key that a provider holds.
struct TokenAuthority: Sendable {
  /// The key that signs, as recorded.
  struct SigningKey: Codable, Sendable {
    var version: KeyVersionID
    var algorithm: SignatureAlgorithm
    var publicKey: String
    /// The provider that holds the key: another one of the same configuration name is not taken for it.
    var provider: ProviderIdentity
    var isReady: Bool
  }

  /// What a token says; the names are those of Key Vault's issuer.
  struct Claims: Sendable {
    var iss: String
    var aud: String
    var iat: Int64
    var nbf: Int64
    var exp: Int64
    var sub: String
    var tid: String
    var oid: String
    var jti: String
    /// Whom it stands for.
    var principal: PrincipalID?
  }

  private struct Header: Encodable {
    var alg: String
    var kid: String
    var typ: String
  }

  private let signer: any KeyProvider
  private let key: SigningKey
  private let publicKey: PublicKey
  private let issuer: String
  private let environment: RuntimeEnvironment
  private let known = KnownTokens()

  init(
    store: any PolicyStore, signer: any KeyProvider, issuer: String, environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) {
    key = try await Self.signingKey(store: store, signer: signer, environment: environment)
    publicKey = try PublicKey(spki: [UInt8](base64URL: key.publicKey) ?? [])
    self.signer = signer
    self.issuer = issuer
    self.environment = environment
  }

  /// The signing key on record, or a new one.
  ///
  /// The intent is recorded first, so that a crash between leaves no orphan.
  private static func signingKey(
    store: any PolicyStore, signer: any KeyProvider, environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> SigningKey {
    let records = RecordView<SigningKey>(store)
    let name = try RecordKey("directory/signing-key")
    let context = CallContext(purpose: .token, deadline: environment.time.running() + .seconds(60))
    let types: [KeyType] = [.ec(.p256), .rsa(bits: 2048)]
    var found = try await records.read(name)
    if found == nil {
      guard
        let type = types.first(where: { type in
          signer.capabilities.offers(.generate(type))
            && SignatureAlgorithm.fitting(type).contains { signer.capabilities.offers(.sign($0)) }
        }), let algorithm = SignatureAlgorithm.fitting(type).first(where: { signer.capabilities.offers(.sign($0)) })
      else {
        throw KeyCustodyError(
          .unsupported, .notOffered, "The key provider '\(signer.identity)' can't sign tokens.",
          remedy: "Set identity.keyProvider to one that offers 'sign ES256' or 'sign PS256'.")
      }
      let planned = SigningKey(
        version: try KeyVersionID(random: environment.random), algorithm: algorithm, publicKey: "",
        provider: signer.identity, isReady: false)
      _ = try await records.create(name, planned)
      found = try await records.read(name)
    }
    guard var key = found else {
      throw KeyCustodyError(.fault, .internalFault, "The directory's signing key vanished from the policy store.")
    }
    guard key.provider == signer.identity else {
      throw KeyCustodyError(
        .invalidInput, .backendMismatch,
        "The directory's signing key is held by '\(key.provider)', but '\(signer.identity)' is configured.",
        remedy: "Point identity.keyProvider at the backend that holds the key.")
    }
    if !key.isReady {
      let type: KeyType = key.algorithm == .es256 ? .ec(.p256) : .rsa(bits: 2048)
      let request = GenerateKeyRequest(version: key.version, type: type, role: .signing, label: "token signing")
      let description = try await signer.generatePlanned(request, context: context)
      key.publicKey = (description.publicKey ?? []).base64URL
      key.isReady = true
      let ready = key
      try await records.update(name) { $0 = ready }
    }
    return key
  }

  /// How long a signature may take.
  private static let patience = Duration.seconds(10)

  /// The `iss` of a tenant's tokens.
  func issuer(of tenant: TenantID) -> String { "\(issuer)/\(tenant.folded)/v2.0" }

  /// The public half of the signing key, with its name and algorithm.
  var verificationKey: (version: KeyVersionID, algorithm: SignatureAlgorithm, publicKey: PublicKey) {
    (key.version, key.algorithm, publicKey)
  }

  func issue(for record: DirectoryRecord, audience: String, lifetime: Duration) async throws(KeyCustodyError) -> String
  {
    let now = environment.time.now()
    let claims = Claims(
      iss: issuer(of: record.id.tenant), aud: audience, iat: now.seconds, nbf: now.seconds,
      exp: (now + lifetime).seconds,
      sub: record.id.subject.spelling, tid: record.id.tenant.spelling, oid: record.objectID,
      jti: try environment.random.bytes(16).hexadecimal)
    let header: JSON = [
      "alg": .string(key.algorithm.rawValue), "kid": .string(key.version.description), "typ": "JWT",
    ]
    let signed = header.bytes.base64URL + "." + claims.json.bytes.base64URL
    let digest = try Hashing.digest(key.algorithm.hash, Array(signed.utf8))
    // Whoever waits for a token may have no deadline of their own.
    let context = CallContext(
      purpose: .token, principal: record.id, deadline: environment.time.running() + Self.patience)
    let signature = try await signer.sign(
      digest, with: SignRequest(version: key.version, algorithm: key.algorithm, context: context))
    return signed + "." + signature.base64URL
  }

  /// Checks form, algorithm, key, signature, issuer, audience and time.
  ///
  /// Every failure is one and the same error.
  func verify(_ token: String, audiences: Set<String>) throws(KeyCustodyError) -> Claims {
    let claims = try signed(token)
    let now = environment.time.now().seconds
    guard let tenant = claims.principal?.tenant, claims.iss == issuer(of: tenant), audiences.contains(claims.aud),
      claims.nbf <= now, now < claims.exp
    else { throw DirectoryIdentityProvider.rejected }
    return claims
  }

  /// The claims of a token that this authority signed; verified once, and known again for as long as there is room.
  private func signed(_ token: String) throws(KeyCustodyError) -> Claims {
    let rejected = DirectoryIdentityProvider.rejected
    // By its hash: the token itself lets whoever has it in.
    let name = try Hashing.sha256(Array(token.utf8))
    if let known = known[name] { return known }
    guard let signed = try? JSONWebSignature(compact: token, allowing: [key.algorithm]),
      signed.keyID == key.version.description, signed.header["typ"] == "JWT",
      try signed.verify(with: publicKey), let claims = (try? JSON(signed.payload)).flatMap(Claims.init)
    else { throw rejected }
    known[name] = claims
    return claims
  }
}

extension TokenAuthority.Claims {
  /// The claims of a token's payload, when all are there.
  init?(_ payload: JSON) {
    guard let iss = payload["iss"]?.string, let aud = payload["aud"]?.string, let iat = payload["iat"]?.integer,
      let nbf = payload["nbf"]?.integer, let exp = payload["exp"]?.integer, let sub = payload["sub"]?.string,
      let tid = payload["tid"]?.string, let oid = payload["oid"]?.string, let jti = payload["jti"]?.string
    else { return nil }
    self.init(iss: iss, aud: aud, iat: iat, nbf: nbf, exp: exp, sub: sub, tid: tid, oid: oid, jti: jti)
    principal = try? PrincipalID("\(tid)/\(sub)")
  }

  /// The payload; the client stands in it by the names that versions 1 and 2 of the issuer's tokens have for it.
  fileprivate var json: JSON {
    [
      "iss": .string(iss), "aud": .string(aud), "iat": .integer(iat), "nbf": .integer(nbf), "exp": .integer(exp),
      "sub": .string(sub), "tid": .string(tid), "oid": .string(oid), "jti": .string(jti), "appid": .string(sub),
      "azp": .string(sub), "ver": "2.0",
    ]
  }
}

/// The claims of tokens whose signature was found good, by the tokens' hashes.
private final class KnownTokens: Sendable {
  private let claims = Mutex<[[UInt8]: TokenAuthority.Claims]>([:])
  private static let most = 4096

  subscript(_ name: [UInt8]) -> TokenAuthority.Claims? {
    get { claims.withLock { $0[name] } }
    set {
      claims.withLock { claims in
        // Rarely, and all at once: what is still in use is soon known again.
        if claims.count >= Self.most { claims.removeAll(keepingCapacity: true) }
        claims[name] = newValue
      }
    }
  }
}
