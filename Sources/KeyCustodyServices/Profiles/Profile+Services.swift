public import KeyCustody
import KeyCustodyEnvelope

/// The profiles of known kinds of services.
extension Profile {
  /// Every profile that comes with the framework, by its name.
  ///
  /// - Throws: never, as long as the names below fit.
  public static func known() throws(KeyCustodyError) -> [Profile] {
    [try .bot(), try .language(), try .openAI(), try .storage(), try .custom()]
  }

  /// The profile of that name.
  ///
  /// - Throws: `invalidInput` (`bad-name`), naming those there are.
  public static func named(_ name: String) throws(KeyCustodyError) -> Profile {
    let all = try known()
    if let found = all.first(where: { $0.name == name }) { return found }
    throw KeyCustodyError(
      .invalidInput, .badName, "There is no profile '\(name)'.",
      remedy: "Use one of: \(all.map(\.name).joined(separator: ", ")).")
  }

  /// For a service of one's own: three classes of data named after their groups, any KEK, the newest version, rotation by
  /// re-wrapping.
  public static func custom() throws(KeyCustodyError) -> Profile {
    var profile = Profile(
      name: "custom",
      dataClasses: [
        DataClassRule(name: try DataClass("long-term"), group: .longTerm),
        DataClassRule(name: try DataClass("transient"), group: .transient),
        DataClassRule(name: try DataClass("serving-copy"), group: .servingCopy),
      ])
    profile.versionChoice = .newest
    return profile
  }

  /// A bot service: configuration is kept, messages and attachments pass through; another key takes over by
  /// re-encrypting.
  public static func bot() throws(KeyCustodyError) -> Profile {
    var profile = Profile(
      name: "bot",
      dataClasses: [
        DataClassRule(name: try DataClass("configuration"), group: .longTerm),
        DataClassRule(name: try DataClass("messages"), group: .transient),
        DataClassRule(name: try DataClass("attachments"), group: .transient),
      ], rotation: .reencrypt)
    profile.grantee = .registeredService
    profile.operations = [
      OperationRule("send-message", stopsWithKey: true), OperationRule("receive-message", stopsWithKey: true),
      OperationRule("read-configuration", stopsWithKey: true), OperationRule("edit-configuration", stopsWithKey: true),
    ]
    profile.advisedDaysOfOldKey = 7
    return profile
  }

  /// A language service: all data stops with the key.
  public static func language() throws(KeyCustodyError) -> Profile {
    var profile = Profile(
      name: "language",
      dataClasses: [
        DataClassRule(name: try DataClass("documents"), group: .longTerm),
        DataClassRule(name: try DataClass("results"), group: .longTerm),
        DataClassRule(name: try DataClass("requests"), group: .transient),
      ], keyTypes: [.rsa(bits: 2048)], requiresSameRegion: true)
    profile.grantee = .identityGrantedForCustomer
    profile.operations = [
      OperationRule("read-data", stopsWithKey: true), OperationRule("write-data", stopsWithKey: true),
    ]
    profile.longTermAfterHours = 48
    return profile
  }

  /// A service of trained models: what is trained stops with the key, what is deployed goes on from a serving copy.
  public static func openAI() throws(KeyCustodyError) -> Profile {
    var profile = Profile(
      name: "openai",
      dataClasses: [
        DataClassRule(name: try DataClass("training-files"), group: .longTerm),
        DataClassRule(name: try DataClass("result-files"), group: .longTerm),
        DataClassRule(name: try DataClass("models"), group: .longTerm),
        DataClassRule(name: try DataClass("deployments"), group: .servingCopy),
        DataClassRule(name: try DataClass("requests"), group: .transient),
      ], keyTypes: [.rsa(bits: 2048)], requiresSameRegion: true)
    profile.requiresAccessPolicies = true
    profile.operations = [
      OperationRule("download-training-file", stopsWithKey: true),
      OperationRule("download-result-file", stopsWithKey: true), OperationRule("fine-tune", stopsWithKey: true),
      OperationRule("deploy-model", stopsWithKey: true), OperationRule("serve-deployment", stopsWithKey: false),
      OperationRule("delete-deployment", stopsWithKey: false),
    ]
    profile.longTermAfterHours = 48
    return profile
  }

  /// A storage service: any KEK, followed to its newest version.
  public static func storage() throws(KeyCustodyError) -> Profile {
    var profile = Profile(
      name: "storage",
      dataClasses: [
        DataClassRule(name: try DataClass("long-term"), group: .longTerm),
        DataClassRule(name: try DataClass("transient"), group: .transient),
      ])
    profile.versionChoice = .newest
    profile.operations = [
      OperationRule("read-data", stopsWithKey: true), OperationRule("write-data", stopsWithKey: true),
    ]
    return profile
  }
}
