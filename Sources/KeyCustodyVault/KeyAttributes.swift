public import KeyCustody

/// An operation that a key version may be allowed for, by its name on the wire (RFC 7517, section 4.3).
public enum KeyUse: String, Sendable, Hashable, Codable, CaseIterable {
  /// Encrypt a short plaintext.
  case encrypt
  /// Decrypt it.
  case decrypt
  /// Sign a digest.
  case sign
  /// Verify a signature.
  case verify
  /// Wrap a key.
  case wrapKey
  /// Unwrap it.
  case unwrapKey

  /// Everything that a key of a type and role can do, which is also what it may do unless told otherwise.
  public static func possible(_ type: KeyType, _ role: KeyRole) -> [KeyUse] {
    switch role {
    case .wrapping: [.wrapKey, .unwrapKey]
    case .signing: [.sign, .verify]
    case .general: [.encrypt, .decrypt, .sign, .verify, .wrapKey, .unwrapKey]
    }
  }

  /// Whether it makes something new: refused outside a version's validity (SEMANTICS V6).
  var isProtecting: Bool {
    switch self {
    case .encrypt, .wrapKey, .sign: true
    case .decrypt, .unwrapKey, .verify: false
    }
  }
}

/// What may be said of a key version when it is made or changed (SEMANTICS V6); what is `nil` stays as it is.
public struct KeyAttributes: Sendable, Hashable {
  /// Whether it may be used at all; a new version may, unless told otherwise.
  public var isEnabled: Bool?
  /// Not to be used for wrapping, encrypting and signing before.
  public var notBefore: Timestamp?
  /// Not to be used for wrapping, encrypting and signing from then on.
  public var expires: Timestamp?
  /// What it may be used for; a new version may do all that its type and role can, unless told otherwise.
  public var operations: Set<KeyUse>?
  /// Names and values of its owner's choice; they take the place of all there were.
  public var tags: [String: String]?

  /// Attributes.
  public init(
    isEnabled: Bool? = nil, notBefore: Timestamp? = nil, expires: Timestamp? = nil, operations: Set<KeyUse>? = nil,
    tags: [String: String]? = nil
  ) {
    self.isEnabled = isEnabled
    self.notBefore = notBefore
    self.expires = expires
    self.operations = operations
    self.tags = tags
  }

  func validate(_ type: KeyType, _ role: KeyRole) throws(KeyCustodyError) {
    let possible = KeyUse.possible(type, role)
    if let odd = operations?.first(where: { !possible.contains($0) }) {
      throw KeyCustodyError(
        .invalidInput, .keyOperationImpossible, "A \(role.rawValue) key of type \(type) can't '\(odd.rawValue)'.",
        remedy: "Use some of: \(possible.map(\.rawValue).joined(separator: ", ")).")
    }
    try Tags.validate(tags)
  }
}

/// The limits of tags, of keys and secrets alike.
enum Tags {
  private static let most = 15
  private static let longest = 256

  static func validate(_ tags: [String: String]?) throws(KeyCustodyError) {
    guard let tags else { return }
    guard tags.count <= most else {
      throw KeyCustodyError(
        .invalidInput, .badTags, "There are \(tags.count) tags; at most \(most) are kept.", remedy: "Leave some out.")
    }
    guard tags.allSatisfy({ !$0.key.isEmpty && $0.key.count <= longest && $0.value.count <= longest }) else {
      throw KeyCustodyError(
        .invalidInput, .badTags, "A tag has a name of 1 to \(longest) characters and a value of at most \(longest).",
        remedy: "Shorten the name or the value.")
    }
  }
}
