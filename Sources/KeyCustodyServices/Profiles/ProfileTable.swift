import KeyCustody
import KeyCustodyEnvelope

/// The rules of profiles as a table in Markdown, for documentation: the data itself says what they do.
public struct ProfileTable: Sendable {
  private let profiles: [Profile]

  /// A table of profiles, a column each.
  public init(_ profiles: [Profile]) { self.profiles = profiles }

  /// The table.
  public var markdown: String {
    let rows: [(String, (Profile) -> String)] = [
      ("who is granted access", { Self.words(for: $0.grantee) }),
      ("key types", { $0.keyTypes.isEmpty ? "any KEK" : $0.keyTypes.map(\.description).joined(separator: ", ") }),
      ("vault in the same region", { $0.requiresSameRegion ? "yes" : "no" }),
      ("access policies required", { $0.requiresAccessPolicies ? "yes" : "no" }),
      ("version", { $0.versionChoice == .newest ? "the newest, unless one is given" : "as given, until updated" }),
      ("a newer version takes over by", { $0.rotation == .rewrap ? "re-wrapping" : "re-encryption" }),
      ("advised to keep the old version", { $0.advisedDaysOfOldKey > 0 ? "\($0.advisedDaysOfOldKey) days" : "-" }),
      ("long-term data", { Self.classes($0, .longTerm) }),
      ("transient data", { Self.transient($0) }),
      ("serving copies", { Self.classes($0, .servingCopy) }),
      ("stops with the key", { Self.operations($0, stopsWithKey: true) }),
      ("goes on", { Self.operations($0, stopsWithKey: false) }),
    ]
    var lines = [
      "| | " + profiles.map { "`\($0.name)`" }.joined(separator: " | ") + " |",
      "| --- |" + String(repeating: " --- |", count: profiles.count),
    ]
    for (title, cell) in rows { lines.append("| \(title) | " + profiles.map(cell).joined(separator: " | ") + " |") }
    return lines.joined(separator: "\n")
  }

  private static func words(for grantee: Profile.Grantee) -> String {
    switch grantee {
    case .registeredService: "the registered service's principal"
    case .identityGrantedForCustomer: "the resource's identity, by the service"
    case .identityGrantedByCustomer: "the resource's identity, by the customer"
    }
  }

  private static func classes(_ profile: Profile, _ group: RootKeyGroup) -> String {
    let names = profile.dataClasses.filter { $0.group == group }.map { "`\($0.name.spelling)`" }
    return names.isEmpty ? "-" : names.joined(separator: ", ")
  }

  private static func transient(_ profile: Profile) -> String {
    let names = classes(profile, .transient)
    guard names != "-" else { return names }
    return "\(names): epochs of \(profile.transientEpochHours) h, gone after \(profile.transientLifetimeHours) h more"
  }

  private static func operations(_ profile: Profile, stopsWithKey: Bool) -> String {
    let names = profile.operations.filter { $0.stopsWithKey == stopsWithKey }.map { "`\($0.name)`" }
    return names.isEmpty ? (stopsWithKey ? "all long-term data" : "-") : names.joined(separator: ", ")
  }
}
