package import KeyCustody

/// The public keys of an issuer (JWKS, RFC 7517, section 5), as far as they verify signatures.
///
/// A key that is not usable here is left out: one of another type, size or curve, for another use, for an algorithm that
/// is not known, or with a flaw. So an issuer may publish what it likes beside. A set with a private key, or one in
/// which two keys answer to the same name, is refused whole: whoever published it did something wrong.
package struct JSONWebKeySet: Sendable {
  /// The usable keys.
  package let keys: [JSONWebKey]

  /// The most keys that are read.
  package static let mostKeys = 64
  /// The longest document that is read, in bytes.
  package static let longest = 256 * 1024

  /// Reads a document.
  ///
  /// - Throws: `invalidInput` (`wrong-size`, `malformed`).
  package init(_ document: [UInt8]) throws(KeyCustodyError) {
    guard document.count <= Self.longest else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "The key set is longer than \(Self.longest) bytes.")
    }
    guard let values = try JSON(document)["keys"]?.array else {
      throw Self.malformed("It is not an object with 'keys'.")
    }
    guard values.count <= Self.mostKeys else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "The key set has more than \(Self.mostKeys) keys.")
    }
    var keys: [JSONWebKey] = []
    for value in values {
      guard let members = value.object else { throw Self.malformed("A key is not an object.") }
      guard !JSONWebKey.privateMembers.contains(where: { members[$0] != nil }) else {
        throw Self.malformed("It holds a private or secret key.")
      }
      guard let key = JSONWebKey(members) else { continue }
      guard !keys.contains(where: { $0.answersLike(key) }) else { throw Self.malformed("Two keys have one 'kid'.") }
      keys.append(key)
    }
    self.keys = keys
  }

  /// The key that a token names; where it names none, the one key that fits its algorithm.
  package func key(for token: JSONWebSignature) -> JSONWebKey? {
    let fitting = keys.filter { $0.algorithms.contains(token.algorithm) }
    guard let keyID = token.keyID else { return fitting.count == 1 ? fitting[0] : nil }
    return fitting.first { $0.keyID?.utf8.elementsEqual(keyID.utf8) ?? false }
  }

  /// Whether any key has this name, whatever it is for.
  package func holds(keyID: String) -> Bool { keys.contains { $0.keyID?.utf8.elementsEqual(keyID.utf8) ?? false } }

  private static func malformed(_ reason: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .malformed, "That is not a key set that can be taken. \(reason)")
  }
}
