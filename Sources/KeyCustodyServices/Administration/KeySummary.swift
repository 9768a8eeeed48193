package import KeyCustody
package import KeyCustodyVault

/// A key with its versions, as it is told to people and programs.
package struct KeySummary: Codable, Sendable {
  /// A version of it.
  package struct Version: Codable, Sendable {
    package var version: String
    package var enabled: Bool
    package var created: Int64
    package var expires: Int64?
  }
  /// Its address, without a version.
  package var key: String
  package var type: String
  package var role: String
  package var deletedUntil: Int64?
  package var versions: [Version]

  /// A key that has its address where `uri` has its own.
  package init(_ record: KeyRecord, at uri: KeyURI) {
    key = KeyURI(authority: uri.authority, name: record.name).description
    type = record.type.description
    role = record.role.rawValue
    deletedUntil = record.deletion?.scheduledPurge.seconds
    versions = record.versions.map {
      Version(
        version: $0.version.description, enabled: $0.isEnabled, created: $0.created.seconds,
        expires: $0.expires?.seconds)
    }
  }

  /// For people.
  package var text: String {
    let head = "\(key)  \(type)  \(role)" + (deletedUntil.map { "  deleted, recoverable until \($0)" } ?? "")
    return ([head] + versions.map { "  \($0.version)  \($0.enabled ? "enabled" : "disabled")" })
      .joined(separator: "\n")
  }
}
