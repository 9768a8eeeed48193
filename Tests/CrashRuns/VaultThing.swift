import KeyCustody
import NIOHTTP1

/// A key or a secret, as one client knows it by what it was answered; nobody else touches it.
struct VaultThing: Sendable {
  enum Kind: Sendable, CaseIterable {
    case secret
    case symmetric, rsa
    case signing

    var isKey: Bool { self != .secret }
    var wrapAlgorithm: String? {
      switch self {
      case .symmetric: "A256KW"
      case .rsa: "RSA-OAEP-256"
      case .signing, .secret: nil
      }
    }
  }
  /// What one version is marked with: every change that marks it sets all of these, so that half of it shows.
  struct Version: Sendable, Hashable {
    /// Set as a tag.
    var tag: Int?
    /// Set as the moment of expiry.
    var expiry: Int?
    /// A secret's value.
    var value: String?
  }
  /// A change of one thing.
  enum Change: Sendable, Hashable {
    case make(mark: Int, value: String?)
    case rotate
    case update(version: String, mark: Int)
    case delete
    case recover

    var makesVersion: Bool {
      switch self {
      case .make, .rotate: true
      case .update, .delete, .recover: false
      }
    }
  }
  /// A change that was begun and not answered.
  struct Begun: Sendable {
    var change: Change
    /// The client's name of the request.
    var name: String
    /// When, in minutes times ten, which is how long the server knows such names.
    var period: Int64
  }
  /// Bytes that a version wrapped.
  struct Wrapped: Sendable {
    var version: String
    var plain: [UInt8]
    var wrapped: String
  }

  let kind: Kind
  let name: String
  var versions: [String: Version] = [:]
  var newest: String?
  var isDeleted = false
  var begun: Begun?
  var wrapped: [Wrapped] = []

  init(_ kind: Kind, _ name: String) { (self.kind, self.name) = (kind, name) }

  var path: String { "/\(kind.isKey ? "keys" : "secrets")/\(name)" }
  var deletedPath: String { "/deleted\(path.dropFirst())" }

  /// Takes a change as made.
  ///
  /// - Parameter version: the one it made, if it makes one.
  mutating func apply(_ change: Change, version: String?) {
    switch change {
    case .make(let mark, let value):
      guard let version else { return }
      versions[version] = Version(tag: mark, expiry: mark, value: value)
      newest = version
    case .rotate:
      guard let version else { return }
      // Tags go with it, the expiry doesn't.
      versions[version] = Version(tag: newest.flatMap { versions[$0]?.tag })
      newest = version
    case .update(let version, let mark):
      versions[version]?.tag = mark
      versions[version]?.expiry = mark
    case .delete: isDeleted = true
    case .recover: isDeleted = false
    }
  }

  /// How a change is asked for.
  func request(_ change: Change) -> VaultRequest {
    switch change {
    case .make(let mark, let value?):
      VaultRequest(
        .PUT, path,
        JSON(marks: mark, ["value": .string(value), "contentType": .string("mark-\(mark)")]))
    case .make(let mark, nil): VaultRequest(.POST, "\(path)/create", JSON(marks: mark, keyType))
    case .rotate: VaultRequest(.POST, "\(path)/rotate")
    case .update(let version, let mark): VaultRequest(.PATCH, "\(path)/\(version)", JSON(marks: mark, [:]))
    case .delete: VaultRequest(.DELETE, path)
    case .recover: VaultRequest(.POST, "\(deletedPath)/recover")
    }
  }

  private var keyType: JSON {
    switch kind {
    case .symmetric, .secret: ["kty": "oct"]
    case .rsa: ["kty": "RSA", "key_size": 2048]
    case .signing: ["kty": "EC", "crv": "P-256"]
    }
  }
}

extension JSON {
  /// Far away, so that nothing expires.
  static let firstExpiry: Int64 = 4_000_000_000

  /// What a change asks for, and all by which it is known.
  init(marks mark: Int, _ members: JSON) {
    var object = members.object ?? Object()
    object["tags"] = ["mark": .string("\(mark)")]
    object["attributes"] = ["exp": .integer(Self.firstExpiry + Int64(mark))]
    self = .object(object)
  }

  /// The version that an answer or an item of a list is about.
  var version: String? {
    let address = self["key"]?["kid"]?.string ?? self["kid"]?.string ?? self["id"]?.string
    return address?.split(separator: "/").last.map(String.init)
  }

  /// The name of what an item of a list is about, which is without a version there.
  var name: String? {
    let address = self["kid"]?.string ?? self["id"]?.string
    return address?.split(separator: "/").dropFirst(3).first.map(String.init)
  }

  /// The marks that a version bears.
  var marks: VaultThing.Version {
    VaultThing.Version(
      tag: self["tags"]?["mark"]?.string.flatMap { Int($0) },
      expiry: self["attributes"]?["exp"]?.integer.map { Int($0 - Self.firstExpiry) })
  }
}
