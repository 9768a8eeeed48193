public import KeyCustody
import KeyCustodyCrypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a log had at one moment: how many records, and the root of the tree over them, signed by the log's key.
///
/// In the form of c2sp.org/tlog-checkpoint. Whoever keeps one can show later that the log still begins with the same
/// records.
public struct AuditCheckpoint: Sendable, Hashable {
  /// The log's name.
  public let origin: String
  /// How many records the tree has.
  public let size: UInt64
  /// The root of the tree.
  public let root: [UInt8]
  /// The signed note, as it is kept and handed on.
  public let note: String

  /// Reads a note and checks its signature.
  ///
  /// - Throws: `invalidInput` (`malformed`) for what is no checkpoint; `integrityFailure` (`not-authentic`) for one
  ///   that the key did not sign, or of another log.
  public init(note: String, key: AuditVerifierKey) throws(KeyCustodyError) {
    let parts = try Self.parts(note)
    var isSigned = false
    for line in parts.signatures where try key.signed(parts.text, line) { isSigned = true }
    guard isSigned else {
      throw KeyCustodyError(
        .integrityFailure, .notAuthentic, "The checkpoint is not signed by the key '\(key.name)'.",
        remedy: "Take the log's own verifier key, kept from when the log was begun.")
    }
    let lines = parts.text.split(separator: "\n", omittingEmptySubsequences: false)
    // The text ends with a line's end, which makes the last of these empty.
    guard lines.count >= 4, !lines.dropLast().contains(""), let size = UInt64(lines[1]), String(size) == lines[1],
      let root = Data(base64Encoded: String(lines[2])), root.count == MerkleTree.hashLength,
      root.base64EncodedString() == lines[2]
    else { throw AuditErrors.malformed("That is not a checkpoint (c2sp.org/tlog-checkpoint).") }
    guard lines[0] == key.name else {
      throw KeyCustodyError(
        .integrityFailure, .notAuthentic, "The checkpoint is not of the log '\(key.name)'.",
        remedy: "Take a checkpoint of the same log.")
    }
    origin = key.name
    self.size = size
    self.root = Array(root)
    self.note = note
  }

  /// One that nobody signed.
  init(unsigned origin: String, size: UInt64, root: [UInt8]) {
    self.origin = origin
    self.size = size
    self.root = root
    note = Self.text(origin: origin, size: size, root: root)
  }

  /// The text that is signed.
  static func text(origin: String, size: UInt64, root: [UInt8]) -> String {
    "\(origin)\n\(size)\n\(Data(root).base64EncodedString())\n"
  }

  /// A note's text and its signature lines (c2sp.org/signed-note).
  private static func parts(_ note: String) throws(KeyCustodyError) -> (text: String, signatures: [Substring]) {
    let malformed = AuditErrors.malformed("That is not a signed note (c2sp.org/signed-note).")
    guard note.utf8.count <= 64 << 10, note.utf8.allSatisfy({ $0 >= 0x20 || $0 == 0x0a }), note.hasSuffix("\n") else {
      throw malformed
    }
    let lines = note.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
    guard let blank = lines.lastIndex(of: ""), blank > 0, blank + 1 < lines.count, lines.count - blank <= 17 else {
      throw malformed
    }
    let signatures = lines[(blank + 1)...]
    guard signatures.allSatisfy({ $0.hasPrefix("\u{2014} ") }) else { throw malformed }
    return (lines[..<blank].map { "\($0)\n" }.joined(), Array(signatures))
  }
}

/// The public half of a log's key, in the form that checkers of signed notes take: `NAME+ID+BASE64`.
///
/// BASE64 is the byte 2, for ECDSA, and the DER `SubjectPublicKeyInfo`; ID the first four bytes of that structure's
/// SHA-256 in hexadecimal.
public struct AuditVerifierKey: Sendable, Hashable, CustomStringConvertible {
  /// Of the types of signatures that c2sp.org/signed-note assigns: ECDSA.
  static let type: UInt8 = 2
  /// The key's name, which is the log's.
  public let name: String
  /// DER `SubjectPublicKeyInfo`.
  public let publicKey: [UInt8]
  /// The first four bytes of the key's hash: what a signature line begins with.
  let id: [UInt8]

  init(name: String, publicKey: [UInt8]) throws(KeyCustodyError) {
    guard Self.isName(name) else {
      throw KeyCustodyError(
        .invalidInput, .badName, "That is not a name for a log.",
        remedy: "Use 1 to 200 of 0-9, a-z, A-Z and './-_:'; best is a host and a path of yours.")
    }
    guard try PublicKey(spki: publicKey).type == .ec(.p256) else {
      throw KeyCustodyError(.invalidInput, .wrongKeyType, "The key of an audit log is an EC key on P-256.")
    }
    self.name = name
    self.publicKey = publicKey
    id = Array(try Hashing.sha256(publicKey).prefix(4))
  }

  /// Reads the written form.
  ///
  /// - Throws: `invalidInput` (`malformed`, `bad-name`, `wrong-key-type`).
  public init(_ text: String) throws(KeyCustodyError) {
    let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3, let bytes = Data(base64Encoded: parts[2]), bytes.first == Self.type,
      bytes.base64EncodedString() == parts[2]
    else {
      throw AuditErrors.malformed("That is not a verifier key.", remedy: "Write NAME+ID+BASE64, on one line.")
    }
    try self.init(name: parts[0], publicKey: Array(bytes.dropFirst()))
    guard parts[1].lowercased() == id.hexadecimal else {
      throw AuditErrors.malformed("The verifier key's ID is not that of its bytes.", remedy: "Copy it again, whole.")
    }
  }

  static func isName(_ name: String) -> Bool {
    (1...200).contains(name.utf8.count)
      && name.utf8.allSatisfy { $0.isASCIIAlphanumeric || [0x2e, 0x2f, 0x2d, 0x5f, 0x3a].contains($0) }
  }

  /// The written form.
  public var description: String {
    "\(name)+\(id.hexadecimal)+\(Data([Self.type] + publicKey).base64EncodedString())"
  }

  /// Whether a signature line is this key's over a text; a line of another key's is none.
  func signed(_ text: String, _ line: Substring) throws(KeyCustodyError) -> Bool {
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 3, words[1] == name, let bytes = Data(base64Encoded: String(words[2])),
      bytes.prefix(4) == Data(id), bytes.base64EncodedString() == words[2]
    else { return false }
    guard let signature = ECDSASignature.raw(fromDER: Array(bytes.dropFirst(4)), curve: .p256) else { return false }
    return try PublicKey(spki: publicKey).verify(signature, digest: Hashing.sha256(Array(text.utf8)), .es256)
  }

  /// A signature line, from r ‖ s.
  func line(_ signature: [UInt8]) throws(KeyCustodyError) -> String {
    guard let der = ECDSASignature.der(fromRaw: signature, curve: .p256) else {
      throw KeyCustodyError(.fault, .internalFault, "The audit log's key gave a signature of the wrong length.")
    }
    return "\u{2014} \(name) \(Data(id + der).base64EncodedString())\n"
  }
}
