import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTesting
import Logging
import Testing

@testable import KeyCustodyOIDC

/// A key of an issuer in a test: what it publishes, and what it signs.
struct TestKey: Sendable {
  let key: SoftwareKey
  let keyID: String

  init(_ type: KeyType, _ keyID: String) throws {
    key = try SoftwareKey.generate(type, random: SystemRandom())
    self.keyID = keyID
  }

  /// `SubjectPublicKeyInfo`.
  var spki: [UInt8] { get throws { try #require(try key.publicKey()) } }

  /// The key as a key set writes it, with members changed, added or (by `nil`) taken out.
  func jwk(_ changes: [(String, JSON?)] = []) throws -> JSON {
    let spki = try spki
    var members = JSON.Object()
    switch key.type {
    case .rsa(let bits):
      members["kty"] = "RSA"
      members["n"] = .string(Array(spki.dropLast(5).suffix(bits / 8)).base64URL)
      members["e"] = .string(Array(spki.suffix(3)).base64URL)
    case .ec(let curve):
      members["kty"] = "EC"
      members["crv"] = .string(curve.rawValue)
      members["x"] = .string(Array(spki.suffix(2 * curve.coordinateLength).prefix(curve.coordinateLength)).base64URL)
      members["y"] = .string(Array(spki.suffix(curve.coordinateLength)).base64URL)
    case .aes: Issue.record("not a key that signs")
    }
    members["use"] = "sig"
    members["kid"] = .string(keyID)
    for (name, value) in changes { members[name] = value }
    return .object(members)
  }

  /// A token of these claims.
  func token(
    _ claims: JSON, _ algorithm: SignatureAlgorithm? = nil, header changes: [(String, JSON?)] = []
  ) throws -> String {
    var header: JSON.Object = .init()
    let algorithm = algorithm ?? usual
    header["alg"] = .string(algorithm.rawValue)
    header["kid"] = .string(keyID)
    header["typ"] = "JWT"
    for (name, value) in changes { header[name] = value }
    return try sign(JSON.object(header).bytes, claims.bytes, algorithm)
  }

  /// A token of these very bytes.
  func sign(_ header: [UInt8], _ payload: [UInt8], _ algorithm: SignatureAlgorithm? = nil) throws -> String {
    let text = header.base64URL + "." + payload.base64URL
    let algorithm = algorithm ?? usual
    let digest = try Hashing.digest(algorithm.hash, Array(text.utf8))
    return try text + "." + key.sign(digest, algorithm).base64URL
  }

  private var usual: SignatureAlgorithm { if case .rsa = key.type { .rs256 } else { .es256 } }
}

/// A set of keys, as an issuer publishes it.
func keySet(_ keys: [JSON]) -> [UInt8] { JSON(dictionaryLiteral: ("keys", .array(keys))).bytes }

/// Keys that several tests share: making an RSA key takes a moment.
enum SharedKeys {
  static let rsa = Result { try TestKey(.rsa(bits: 2048), "rsa") }
  static let otherRSA = Result { try TestKey(.rsa(bits: 2048), "rsa") }
}

/// Claims that hold, with some changed, added or (by `nil`) taken out.
func claims(
  issuer: String, audience: String, at now: Timestamp, subject: String = "alice", _ changes: [(String, JSON?)] = []
) -> JSON {
  var members = JSON.Object()
  members["iss"] = .string(issuer)
  members["aud"] = .string(audience)
  members["sub"] = .string(subject)
  members["iat"] = .integer(now.seconds)
  members["nbf"] = .integer(now.seconds)
  members["exp"] = .integer(now.seconds + 600)
  for (name, value) in changes { members[name] = value }
  return .object(members)
}

/// An environment of a test's own clock, silent.
func environment(_ clock: ManualClock) -> RuntimeEnvironment {
  RuntimeEnvironment(time: clock, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
}

extension KeyCustodyError {
  static let rejected = KeyCustodyError(.credentialRejected, .wrongSecret, "")
}
