import KeyCustody
import KeyCustodyEnvelope

extension ResourceRecord: JSONCoded {
  init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    var (rootKeys, known) = ([RootKeyRecord](), KnownKEK())
    for key in try members.values("rootKeys") { rootKeys.append(try RootKeyRecord(json: key, &known)) }
    self.init(
      id: try ResourceID(members.text("id")), tenant: try TenantID(members.text("tenant")),
      region: try Region(members.text("region")), profile: try members.value("profile"),
      mode: try members.choice("mode"), rootKeys: rootKeys,
      created: Timestamp(milliseconds: try members.integer("created")))
    identity = try members.valueIfAny("identity")
    if let text = try members.textIfAny("customerKey") { customerKey = try KeyURI(text) }
    followsNewest = try members.flagIfAny("followsNewest")
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("created", created.milliseconds)
      writer.member("customerKey", customerKey?.description)
      writer.member("followsNewest", followsNewest)
      writer.member("id", id.spelling)
      if let identity { writer.member("identity", identity) }
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
    var known = KnownKEK()
    try self.init(json: json, &known)
  }

  fileprivate init(json: JSON, _ known: inout KnownKEK) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(
      id: try RootKeyID(members.text("id")), commitment: try members.text("commitment"),
      layer: try members.choice("layer"), group: try members.choice("group"),
      epoch: Int(try members.integer("epoch")), kek: try known.uri(members.text("kek")),
      algorithm: WrapAlgorithm(rawValue: try members.text("algorithm")),
      holder: try members.value("holder"), isCustomerManaged: try members.flag("isCustomerManaged"),
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
      writer.member("holder", holder)
      writer.member("id", id.description)
      writer.member("isCustomerManaged", isCustomerManaged)
      writer.member("isPrimary", isPrimary)
      writer.member("kek", kek.description)
      writer.member("layer", layer.rawValue)
    }
  }
}

/// The address that was read last: most keys of a keyset are under one KEK, and its address takes long to check.
private struct KnownKEK {
  private var last: (text: String, uri: KeyURI)?

  mutating func uri(_ text: String) throws(KeyCustodyError) -> KeyURI {
    if let last, last.text.hasBytes(of: text) { return last.uri }
    let uri = try KeyURI(text)
    last = (text, uri)
    return uri
  }
}
