import KeyCustody
import KeyCustodyEnvelope

extension ResourceRecord: JSONCoded {
  init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    var (rootKeys, known) = ([RootKeyRecord](), KnownNames())
    for key in try members.values("rootKeys") { rootKeys.append(try RootKeyRecord(json: key, &known)) }
    self.init(
      id: try ResourceID(members.text("id")), tenant: try TenantID(members.text("tenant")),
      region: try Region(members.text("region")), profile: try members.value("profile"),
      mode: try members.choice("mode"), rootKeys: rootKeys,
      created: Timestamp(milliseconds: try members.integer("created")))
    if let text = try members.textIfAny("identity") { identity = try PrincipalID(text) }
    if let text = try members.textIfAny("customerKey") { customerKey = try KeyURI(text) }
    followsNewest = try members.flagIfAny("followsNewest")
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("created", created.milliseconds)
      writer.member("customerKey", customerKey?.description)
      writer.member("followsNewest", followsNewest)
      writer.member("id", id.spelling)
      writer.member("identity", identity?.description)
      writer.member("mode", mode.rawValue)
      writer.member("profile", profile)
      writer.member("region", region.spelling)
      writer.member("rootKeys", rootKeys)
      writer.member("tenant", tenant.spelling)
    }
  }
}

extension RootKeyRecord: JSONCoded {
  init(json: JSON) throws(KeyCustodyError) {
    var known = KnownNames()
    try self.init(json: json, &known)
  }

  fileprivate init(json: JSON, _ known: inout KnownNames) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(
      id: try RootKeyID(members.text("id")), commitment: try members.text("commitment"),
      layer: try members.choice("layer"), group: try members.choice("group"),
      epoch: Int(try members.integer("epoch")), kek: try known.key(members.text("kek")),
      algorithm: WrapAlgorithm(rawValue: try members.text("algorithm")),
      holder: try known.principal(members.text("holder")), isCustomerManaged: try members.flag("isCustomerManaged"),
      envelope: try members.value("envelope"), isPrimary: try members.flag("isPrimary"),
      created: Timestamp(milliseconds: try members.integer("created")))
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("algorithm", algorithm.rawValue)
      writer.member("commitment", commitment)
      writer.member("created", created.milliseconds)
      writer.member("envelope", envelope)
      writer.member("epoch", Int64(epoch))
      writer.member("group", group.rawValue)
      writer.member("holder", holder.description)
      writer.member("id", id.description)
      writer.member("isCustomerManaged", isCustomerManaged)
      writer.member("isPrimary", isPrimary)
      writer.member("kek", kek.description)
      writer.member("layer", layer.rawValue)
    }
  }
}

/// What was read last: most keys of a keyset name the same KEK and the same holder, whose names take long to check.
private struct KnownNames {
  private var key: (text: String, uri: KeyURI)?
  private var principal: (text: String, id: PrincipalID)?

  mutating func key(_ text: String) throws(KeyCustodyError) -> KeyURI {
    if let key, key.text == text { return key.uri }
    let uri = try KeyURI(text)
    key = (text, uri)
    return uri
  }

  mutating func principal(_ text: String) throws(KeyCustodyError) -> PrincipalID {
    if let principal, principal.text == text { return principal.id }
    let id = try PrincipalID(text)
    principal = (text, id)
    return id
  }
}
