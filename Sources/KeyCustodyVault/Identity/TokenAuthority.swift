import KeyCustody
import KeyCustodyCrypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

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
  struct Claims: Codable, Sendable {
    var iss: String
    var aud: String
    var iat: Int64
    var nbf: Int64
    var exp: Int64
    var sub: String
    var tid: String
    var oid: String
    var jti: String

    var principal: PrincipalID? { try? PrincipalID("\(tid)/\(sub)") }
  }

  private struct Header: Codable {
    var alg: String
    var kid: String
    var typ: String
  }

  private let signer: any KeyProvider
  private let key: SigningKey
  private let publicKey: PublicKey
  private let issuer: String
  private let environment: RuntimeEnvironment
  private static let longestToken = 8192

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
    let context = CallContext(purpose: .token)
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
      let description: KeyDescription
      do throws(KeyCustodyError) {
        description = try await signer.describe(key.version, context: context)
      } catch {
        guard error.code == .notFound else { throw error }
        do throws(KeyCustodyError) {
          description = try await signer.generate(request, context: context)
        } catch {
          guard error.reason == .alreadyExists else { throw error }
          description = try await signer.describe(key.version, context: context)
        }
      }
      key.publicKey = (description.publicKey ?? []).base64URL
      key.isReady = true
      let ready = key
      try await records.update(name) { $0 = ready }
    }
    return key
  }

  func issue(for record: DirectoryRecord, audience: String, lifetime: Duration) async throws(KeyCustodyError) -> String
  {
    let now = environment.time.now()
    let claims = Claims(
      iss: issuer, aud: audience, iat: now.seconds, nbf: now.seconds, exp: (now + lifetime).seconds,
      sub: record.id.subject.spelling, tid: record.id.tenant.spelling, oid: record.objectID,
      jti: try environment.random.bytes(16).hexadecimal)
    let header = Header(alg: key.algorithm.rawValue, kid: key.version.description, typ: "JWT")
    let signed = try Self.encode(header) + "." + Self.encode(claims)
    let digest = try Hashing.digest(hash, Array(signed.utf8))
    let signature = try await signer.sign(
      digest,
      with: SignRequest(
        version: key.version, algorithm: key.algorithm, context: CallContext(purpose: .token, principal: record.id)))
    return signed + "." + signature.base64URL
  }

  /// Checks form, algorithm, key, signature, issuer, audience and time.
  ///
  /// Every failure is one and the same error.
  func verify(_ token: String, audience: String) async throws(KeyCustodyError) -> Claims {
    let rejected = DirectoryIdentityProvider.rejected
    guard token.utf8.count <= Self.longestToken else { throw rejected }
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let header: Header = Self.decode(parts[0]),
      header.alg == key.algorithm.rawValue, header.kid == key.version.description, header.typ == "JWT",
      let signature = Self.bytes(parts[2])
    else { throw rejected }
    let digest = try Hashing.digest(hash, Array("\(parts[0]).\(parts[1])".utf8))
    guard try publicKey.verify(signature, digest: digest, key.algorithm), let claims: Claims = Self.decode(parts[1])
    else { throw rejected }
    let now = environment.time.now().seconds
    guard claims.iss == issuer, claims.aud == audience, claims.nbf <= now, now < claims.exp else { throw rejected }
    return claims
  }

  private var hash: HashAlgorithm { .sha256 }

  private static func encode(_ value: some Encodable) throws(KeyCustodyError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return Array(try encoder.encode(value)).base64URL } catch {
      throw KeyCustodyError(.fault, .internalFault, "A token could not be written as JSON.", diagnostic: "\(error)")
    }
  }

  private static func decode<Value: Decodable>(_ part: Substring) -> Value? {
    bytes(part).flatMap { try? JSONDecoder().decode(Value.self, from: Data($0)) }
  }
  /// Base64url without padding, as JOSE has it (RFC 7515, section 2): one way only to write a token.
  private static func bytes(_ part: Substring) -> [UInt8]? {
    part.utf8.last == UInt8(ascii: "=") ? nil : [UInt8](base64URL: part)
  }
}
