/// A name that stands in URIs, records and audit events: 1 to 127 ASCII letters, digits and dashes.
///
/// Compared without regard to case, spelled as given. `Tag` keeps a tenant from being passed for a vault.
public struct Identifier<Tag>: Sendable, Hashable {
  /// The name as it was given.
  public let spelling: String
  /// The lower-case form that decides equality.
  public let folded: String

  /// Takes a name that fits the allow-list.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  public init(_ spelling: String) throws(KeyCustodyError) {
    guard (1...127).contains(spelling.utf8.count), spelling.utf8.allSatisfy(Self.allows) else {
      throw KeyCustodyError(
        .invalidInput, .badName, "\(Self.shown(spelling)) is not a name.",
        remedy: "Use 1 to 127 of 0-9, a-z, A-Z and '-'.")
    }
    self.spelling = spelling
    self.folded = spelling.lowercasedASCII
  }

  private static func allows(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"):
      true
    default: false
    }
  }

  /// Hostile names go into messages and logs only as bounded printable ASCII.
  private static func shown(_ text: String) -> String {
    let safe = text.unicodeScalars.prefix(40).map {
      $0.isASCII && $0.value >= 0x20 && $0.value < 0x7f ? Character($0) : "?"
    }
    return "'\(String(safe))'"
  }

  /// Equal when the folded forms are.
  public static func == (left: Self, right: Self) -> Bool { left.folded == right.folded }
  /// Hashes the folded form.
  public func hash(into hasher: inout Hasher) { hasher.combine(folded) }
}

extension Identifier: CustomStringConvertible {
  /// The name as given.
  public var description: String { spelling }
}

extension Identifier: Comparable {
  /// Ordered by the folded form.
  public static func < (left: Self, right: Self) -> Bool { left.folded < right.folded }
}

extension Identifier: Codable {
  /// Reads a string and checks it.
  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }
  /// Writes the spelling.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(spelling)
  }
}

/// Tags for ``Identifier``; never instantiated.
public enum IdentifierTag {
  /// A tenant (directory).
  public enum Tenant {}
  /// A subscription of a tenant.
  public enum Subscription {}
  /// A region.
  public enum Region {}
  /// A vault.
  public enum Vault {}
  /// A key of a vault.
  public enum Key {}
  /// A resource that a customer owns at a service.
  public enum Resource {}
  /// A user, service principal or managed identity within a tenant.
  public enum Subject {}
  /// A class of data, by the profile of a service.
  public enum DataClass {}
}

/// Names a tenant.
public typealias TenantID = Identifier<IdentifierTag.Tenant>
/// Names a subscription.
public typealias SubscriptionID = Identifier<IdentifierTag.Subscription>
/// Names a region.
public typealias Region = Identifier<IdentifierTag.Region>
/// Names a vault.
public typealias VaultName = Identifier<IdentifierTag.Vault>
/// Names a key within a vault.
public typealias KeyName = Identifier<IdentifierTag.Key>
/// Names a protected resource, unique within a deployment.
public typealias ResourceID = Identifier<IdentifierTag.Resource>
/// Names a principal within its tenant.
public typealias SubjectID = Identifier<IdentifierTag.Subject>
/// Names a class of data.
public typealias DataClass = Identifier<IdentifierTag.DataClass>

/// A principal: who, in which tenant.
///
/// Written `TENANT/SUBJECT`.
public struct PrincipalID: Sendable, Hashable, Codable, CustomStringConvertible {
  /// The tenant that holds the principal.
  public let tenant: TenantID
  /// The principal within the tenant.
  public let subject: SubjectID

  /// Names a principal.
  public init(tenant: TenantID, subject: SubjectID) {
    self.tenant = tenant
    self.subject = subject
  }

  /// Reads `TENANT/SUBJECT`.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw KeyCustodyError(.invalidInput, .badName, "A principal is written TENANT/SUBJECT.")
    }
    self.init(tenant: try TenantID(String(parts[0])), subject: try SubjectID(String(parts[1])))
  }

  /// `TENANT/SUBJECT`.
  public var description: String { "\(tenant)/\(subject)" }
}

/// The form that it has by `Codable`.
extension PrincipalID: JSONCoded {
  package init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(tenant: try TenantID(members.text("tenant")), subject: try SubjectID(members.text("subject")))
  }

  package func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("subject", subject.spelling)
      writer.member("tenant", tenant.spelling)
    }
  }
}
