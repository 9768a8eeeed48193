public import KeyCustody

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A root key, wrapped by a KEK: JSON Web Encryption in its flattened JSON form (RFC 7516, section 7.2.2), which stock
/// JOSE libraries open.
///
/// A content key of 32 random bytes is wrapped by the KEK; AES-256-GCM seals the root key under it.
public struct KeyEnvelope: Codable, Sendable, Hashable {
  /// The protected header, base64url.
  public var protected: String
  /// The wrapped content key, base64url.
  public var encryptedKey: String
  /// The nonce, 12 bytes, base64url.
  public var iv: String
  /// The sealed root key, 32 bytes, base64url.
  public var ciphertext: String
  /// The tag, 16 bytes, base64url.
  public var tag: String

  /// The longest text of a member that is decoded: many times what any KEK of ours makes.
  private static let longestMember = 16 << 10

  private enum CodingKeys: String, CodingKey {
    case protected
    case encryptedKey = "encrypted_key"
    case iv, ciphertext, tag
  }

  /// Wraps a root key.
  ///
  /// - Parameters:
  ///   - material: 32 bytes.
  ///   - facts: What the root key is for.
  ///   - wrap: Has the KEK wrap the content key by the algorithm of `facts`.
  /// - Throws: `invalidInput` (`wrong-size`, `malformed`); what `wrap` throws.
  public static func seal(
    _ material: borrowing SecretBytes, facts: KeyEnvelopeFacts, random: any RandomSource,
    wrap: (borrowing SecretBytes) async throws(KeyCustodyError) -> [UInt8]
  ) async throws(KeyCustodyError) -> KeyEnvelope {
    let unfinished = try UnfinishedEnvelope(material, facts: facts, random: random)
    return unfinished.finished(encryptedKey: try await wrap(unfinished.contentKey.bytes))
  }

  /// Unwraps the root key, if the envelope is for exactly these facts.
  ///
  /// Algorithm and key come from `facts`, never from the header, which must be the very bytes that the facts make.
  /// Compare the ``RootKey/commitment`` of what comes out with the recorded one.
  /// - Parameter unwrap: Has the KEK unwrap the content key by the algorithm of `facts`.
  /// - Throws: `integrityFailure` (`other-kid` and its like, naming the member that differs; `not-authentic`); what
  ///   `unwrap` throws.
  public func open(
    expecting facts: KeyEnvelopeFacts, unwrap: ([UInt8]) async throws(KeyCustodyError) -> SecretBytes
  ) async throws(KeyCustodyError) -> SecretBytes {
    let checked = try checked(against: facts)
    return try checked.open(with: try await unwrap(checked.encryptedKey))
  }

  /// The first step of ``open(expecting:unwrap:)``, for those who have several content keys unwrapped at a time.
  ///
  /// - Throws: what that throws of the envelope itself.
  package func checked(against facts: KeyEnvelopeFacts) throws(KeyCustodyError) -> CheckedEnvelope {
    guard protected.hasBytes(of: try facts.protectedHeader.base64URL) else { throw mismatch(with: facts) }
    let parts = FlattenedJWE.Parts(
      encryptedKey: try decoded(encryptedKey), iv: try decoded(iv), ciphertext: try decoded(ciphertext),
      tag: try decoded(tag))
    guard parts.ciphertext.count == RootKey.materialLength else { throw damaged() }
    try FlattenedJWE.requireLengths(parts)
    return CheckedEnvelope(parts: parts, protected: protected)
  }

  /// Reads what an envelope says of itself, for diagnostics only: nothing of it is authenticated.
  ///
  /// - Throws: `integrityFailure` (`damaged`) when the header is not one of ours.
  public func peek() throws(KeyCustodyError) -> KeyEnvelopeFacts {
    guard let header = looseHeader(), let kid = header.kid, let algorithm = header.alg,
      let resource = header.resource, let layer = header.layer.flatMap(Layer.init),
      let group = header.group.flatMap(RootKeyGroup.init), let epoch = header.epoch
    else { throw damaged() }
    do throws(KeyCustodyError) {
      return KeyEnvelopeFacts(
        kid: kid, algorithm: WrapAlgorithm(rawValue: algorithm), resource: try ResourceID(resource), layer: layer,
        group: group, epoch: epoch)
    } catch {
      throw damaged()
    }
  }

  /// Base64url as JOSE has it: without padding.
  private func decoded(_ text: String) throws(KeyCustodyError) -> [UInt8] {
    guard text.utf8.count <= Self.longestMember, text.utf8.last != UInt8(ascii: "="),
      let bytes = [UInt8](base64URL: text)
    else { throw damaged() }
    return bytes
  }

  private func damaged() -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The key envelope is damaged.",
      remedy: "Restore the resource's keyset from a backup.")
  }

  private func looseHeader() -> LooseHeader? {
    guard protected.utf8.count <= Self.longestMember, let bytes = [UInt8](base64URL: protected) else { return nil }
    return try? JSONDecoder().decode(LooseHeader.self, from: Data(bytes))
  }

  private func mismatch(with facts: KeyEnvelopeFacts) -> KeyCustodyError {
    guard let header = looseHeader() else { return damaged() }
    let differing: (member: String, what: String) =
      if header.alg != facts.algorithm.rawValue {
        ("alg", "is wrapped by another algorithm")
      } else if header.enc != "A256GCM" {
        ("enc", "is sealed by another cipher")
      } else if header.kid != facts.kid {
        ("kid", "is wrapped by another key")
      } else if header.resource != facts.resource.folded {
        ("resource", "is of another resource")
      } else if header.layer != facts.layer.rawValue {
        ("layer", "is for another layer")
      } else if header.group != facts.group.rawValue {
        ("group", "is for another group of data")
      } else if header.epoch != facts.epoch {
        ("epoch", "is of another epoch")
      } else {
        ("form", "is written in another form")
      }
    return KeyCustodyError(
      .integrityFailure, .otherEnvelope(differing.member),
      "The key envelope \(differing.what) than the resource's records say.",
      remedy: "Envelopes were mixed up or tampered with: restore the keyset, or bind the key that the envelope names.")
  }
}

/// The header as far as it can be read, for telling what differs.
private struct LooseHeader: Decodable {
  var alg: String?
  var enc: String?
  var kid: String?
  var resource: String?
  var layer: String?
  var group: String?
  var epoch: Int?

  private enum CodingKeys: String, CodingKey {
    case alg, enc, kid
    case resource = "kc-res"
    case layer = "kc-layer"
    case group = "kc-group"
    case epoch = "kc-epoch"
  }
}

extension KeyCustodyError.Reason {
  /// An envelope that is not the one expected: `other-alg`, `other-enc`, `other-kid`, `other-resource`, `other-layer`,
  /// `other-group`, `other-epoch` or `other-form`.
  public static func otherEnvelope(_ member: String) -> Self { Self("other-\(member)") }
}
