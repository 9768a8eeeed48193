package import KeyCustody

/// A signed token in compact form (JWS, RFC 7515), read strictly, and not believed before ``verify(with:)``.
///
/// The algorithm is one of those the caller allows, all of them asymmetric: there is no `none` and no HMAC, so a public
/// key can't be mistaken for a secret. Keys come from the caller alone. Where the header brings a key or the place of
/// one (`jwk`, `x5c`, `jku`, `x5u`), nothing looks at it.
package struct JSONWebSignature: Sendable {
  /// The header, unverified.
  package let header: JSON.Object
  /// The algorithm that the header names; one of those allowed.
  package let algorithm: SignatureAlgorithm
  /// The key that the header names.
  package let keyID: String?
  /// What is signed: believe it only after the signature was checked.
  package let payload: [UInt8]
  private let signedText: [UInt8]
  private let signature: [UInt8]

  /// The longest token that is read, unless told otherwise, in bytes.
  package static let longest = 8192
  /// Header parameters that change what the rest means, and that nothing here understands (RFC 7515, section 4.1.11;
  /// RFC 7797; RFC 7516, section 4.1.3).
  private static let refusedParameters = ["crit", "b64", "zip"]

  /// Reads a token.
  ///
  /// - Throws: `invalidInput` (`wrong-size`, `malformed`, `not-offered`).
  package init(
    compact token: String, allowing algorithms: Set<SignatureAlgorithm>, limit: Int = longest
  ) throws(KeyCustodyError) {
    guard token.utf8.count <= limit else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "The token is longer than \(limit) bytes.")
    }
    let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3, let header = Self.bytes(parts[0]), let payload = Self.bytes(parts[1]),
      let signature = Self.bytes(parts[2]), !signature.isEmpty
    else { throw Self.malformed("It is not three parts in base64url, divided by dots.") }
    guard let header = try JSON(header).object else { throw Self.malformed("Its header is not an object.") }
    for name in Self.refusedParameters where header[name] != nil {
      throw Self.malformed("Its header has '\(name)', which is not understood here.")
    }
    guard let name = header["alg"]?.string, let algorithm = SignatureAlgorithm(exactly: name),
      algorithms.contains(algorithm)
    else { throw KeyCustodyError(.invalidInput, .notOffered, "The token's algorithm is not allowed here.") }
    guard header["kid"].map({ $0.string != nil }) ?? true else { throw Self.malformed("Its 'kid' is not a text.") }
    self.header = header
    self.algorithm = algorithm
    self.keyID = header["kid"]?.string
    self.payload = payload
    self.signature = signature
    signedText = Array(token.utf8.prefix(parts[0].count + 1 + parts[1].count))
  }

  /// Whether the key signed the token.
  ///
  /// A key of another type than the algorithm's has signed nothing.
  package func verify(with key: PublicKey) throws(KeyCustodyError) -> Bool {
    try key.verify(signature, digest: try Hashing.digest(algorithm.hash, signedText), algorithm)
  }

  /// Base64url without padding (RFC 7515, section 2): one way only to write a token.
  private static func bytes(_ part: Substring.UTF8View) -> [UInt8]? {
    part.last == UInt8(ascii: "=") ? nil : [UInt8](base64URL: Substring(part))
  }

  private static func malformed(_ reason: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .malformed, "That is not a token that can be taken. \(reason)")
  }
}

extension SignatureAlgorithm {
  /// The algorithm whose JOSE name has just these bytes.
  init?(exactly name: String) {
    guard let found = Self.allCases.first(where: { $0.rawValue.utf8.elementsEqual(name.utf8) }) else { return nil }
    self = found
  }
}
