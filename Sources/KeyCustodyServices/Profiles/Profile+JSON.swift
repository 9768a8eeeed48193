package import KeyCustody
import KeyCustodyEnvelope

/// The form that ``Profile`` has by `Codable`, for the records of resources: each holds its profile.
extension Profile: JSONCoded {
  package init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    var dataClasses: [DataClassRule] = []
    for rule in try members.values("dataClasses") { dataClasses.append(try DataClassRule(json: rule)) }
    self.init(name: try members.text("name"), dataClasses: dataClasses)
    for type in try members.valuesIfAny("keyTypes") { keyTypes.append(try KeyType(type.string ?? "")) }
    for rule in try members.valuesIfAny("operations") { operations.append(try OperationRule(json: rule)) }
    requiresSameRegion = try members.flagIfAny("requiresSameRegion") ?? requiresSameRegion
    requiresAccessPolicies = try members.flagIfAny("requiresAccessPolicies") ?? requiresAccessPolicies
    grantee = try members.choiceIfAny("grantee") ?? grantee
    versionChoice = try members.choiceIfAny("versionChoice") ?? versionChoice
    rotation = try members.choiceIfAny("rotation") ?? rotation
    longTermAfterHours = try members.integerIfAny("longTermAfterHours").map(Int.init)
    transientEpochHours = try members.integerIfAny("transientEpochHours").map(Int.init) ?? transientEpochHours
    transientLifetimeHours =
      try members.integerIfAny("transientLifetimeHours").map(Int.init) ?? transientLifetimeHours
    advisedDaysOfOldKey = try members.integerIfAny("advisedDaysOfOldKey").map(Int.init) ?? advisedDaysOfOldKey
  }

  package func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("advisedDaysOfOldKey", Int64(advisedDaysOfOldKey))
      writer.member("dataClasses", dataClasses)
      writer.member("grantee", grantee.rawValue)
      writer.member("keyTypes", texts: keyTypes.map(\.description))
      writer.member("longTermAfterHours", longTermAfterHours.map(Int64.init))
      writer.member("name", name)
      writer.member("operations", operations)
      writer.member("requiresAccessPolicies", requiresAccessPolicies)
      writer.member("requiresSameRegion", requiresSameRegion)
      writer.member("rotation", rotation.rawValue)
      writer.member("transientEpochHours", Int64(transientEpochHours))
      writer.member("transientLifetimeHours", Int64(transientLifetimeHours))
      writer.member("versionChoice", versionChoice.rawValue)
    }
  }
}

extension Profile.DataClassRule: JSONCoded {
  package init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(name: try DataClass(members.text("name")), group: try members.choice("group"))
  }

  package func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("group", group.rawValue)
      writer.member("name", name.spelling)
    }
  }
}

extension Profile.OperationRule: JSONCoded {
  package init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(try members.text("name"), stopsWithKey: try members.flag("stopsWithKey"))
  }

  package func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("name", name)
      writer.member("stopsWithKey", stopsWithKey)
    }
  }
}
