import KeyCustody
import KeyCustodyCrypto
import KeyCustodyServices
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

/// Tokens that no directory issues, signed by a directory's own key all the same.
enum Forged {
  /// The claims of a token, unverified.
  static func claims(_ token: String) throws -> JSON.Object {
    let parts = token.split(separator: ".")
    try #require(parts.count == 3)
    return try #require(try JSON([UInt8](base64URL: parts[1]) ?? []).object)
  }

  /// A token of these claims, signed by the deployment's key.
  static func token(_ claims: JSON.Object, by custody: KeyCustody) async throws -> String {
    let key = custody.identities.verificationKey
    let signer = try #require(custody.keyProviders["own"])
    let header: JSON = [
      "alg": .string(key.algorithm.rawValue), "kid": .string(key.version.description), "typ": "JWT",
    ]
    let text = header.bytes.base64URL + "." + JSON.object(claims).bytes.base64URL
    let signature = try await signer.sign(
      Hashing.digest(key.algorithm.hash, Array(text.utf8)),
      with: SignRequest(version: key.version, algorithm: key.algorithm, context: CallContext(purpose: .token)))
    return text + "." + signature.base64URL
  }
}

/// An issuer outside the deployment, with a key of its own.
struct OutsideIssuer: Sendable {
  let key: SoftwareKey

  init() throws { key = try SoftwareKey.generate(.ec(.p256), random: SystemRandom()) }

  func token(_ claims: JSON) throws -> String {
    let header: JSON = ["alg": "ES256", "typ": "JWT", "kid": "outside"]
    let text = header.bytes.base64URL + "." + claims.bytes.base64URL
    let digest = try Hashing.sha256(Array(text.utf8))
    return try text + "." + key.sign(digest, .es256).base64URL
  }
}

/// Verifies the tokens of issuers whose keys it was given.
struct OutsideVerifier: FederatedTokenVerifier {
  let issuers: [String: OutsideIssuer]
  let time: any TimeSource

  func verify(
    _ token: String, from issuer: FederatedIssuer, audience: String
  ) async throws(KeyCustodyError) -> FederatedClaims {
    guard let known = issuers[issuer.name] else {
      throw KeyCustodyError(.unavailable, .unreachable, "The issuer does not answer.")
    }
    let rejected = KeyCustodyError(.credentialRejected, .wrongSecret, "The token was not accepted.")
    guard let signed = try? JSONWebSignature(compact: token, allowing: [.es256]),
      let spki = try known.key.publicKey(), try signed.verify(with: PublicKey(spki: spki)),
      let claims = try? JSON(signed.payload), claims["iss"]?.string == issuer.name,
      claims["aud"]?.string == audience, let subject = claims["sub"]?.string, let expires = claims["exp"]?.integer,
      expires > time.now().seconds
    else { throw rejected }
    return FederatedClaims(
      issuer: issuer.name, subject: subject, audience: audience, expires: Timestamp(seconds: expires))
  }
}
