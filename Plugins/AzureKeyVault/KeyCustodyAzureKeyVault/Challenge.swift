import KeyCustody

/// What a vault answers who shows no token: whom to ask for one, and what it must be for.
struct Challenge: Sendable, Hashable {
  /// The authority, with the tenant.
  let authority: WebAddress
  /// What the token must be for, as it is asked for.
  let resource: WebAddress

  /// Reads the values of `WWW-Authenticate` headers; `nil` where none is a challenge of this kind.
  init?(_ headers: [String]) {
    for header in headers where header.utf8.count <= 4096 {
      let words = header.split(separator: " ", maxSplits: 1)
      guard words.count == 2, words[0].lowercased() == "bearer" else { continue }
      var fields: [String: String] = [:]
      for part in words[1].split(separator: ",") {
        let halves = part.split(separator: "=", maxSplits: 1)
        guard halves.count == 2 else { continue }
        let name = halves[0].filter { $0 != " " }.lowercased()
        // The first of a name counts.
        if fields[name] == nil { fields[name] = halves[1].filter { $0 != "\"" && $0 != " " } }
      }
      guard let authority = fields["authorization"] ?? fields["authorization_uri"],
        let found = WebAddress(authority), let resource = Self.resource(fields)
      else { continue }
      self.authority = found
      self.resource = resource
      return
    }
    return nil
  }

  private static func resource(_ fields: [String: String]) -> WebAddress? {
    let scope = fields["scope"].flatMap { $0.hasSuffix("/.default") ? String($0.dropLast("/.default".count)) : nil }
    return (fields["resource"] ?? scope).flatMap { WebAddress($0) }
  }

  /// Refuses a challenge that would take a secret or a token elsewhere.
  ///
  /// - Throws: `invalidInput` (`backend-mismatch`); `denied` (`other-tenant`).
  func check(_ settings: CheckedSettings) throws(KeyCustodyError) {
    if let pinned = settings.authority {
      guard authority.isProtected, authority.authority == pinned.authority,
        authority.path.lowercased() == pinned.path.lowercased()
      else {
        if let tenant = settings.tenant {
          throw KeyCustodyError(
            .denied, .otherTenant, "The vault '\(settings.vault.authority)' does not belong to the tenant '\(tenant)'.",
            remedy: "Use a vault of that tenant.",
            diagnostic: "it names the authority '\(authority.text.prefix(200))'; no secret was sent there")
        }
        throw KeyCustodyError(
          .invalidInput, .backendMismatch,
          "The vault '\(settings.vault.authority)' sends its callers to the authority '\(authority.text.prefix(200))', not to "
            + "'\(pinned.text)'; no secret was sent there.",
          remedy: "Check 'vault' and 'authority'. If the vault's tenant really has that authority, write it.")
      }
    }
    guard settings.vault.isWithin(resource: resource) else {
      throw KeyCustodyError(
        .invalidInput, .backendMismatch,
        "The vault '\(settings.vault.authority)' asks for tokens for '\(resource.text.prefix(200))', which it is not part of.",
        remedy: "Check 'vault': its host must be within the domain that its tokens are for, port included.")
    }
  }
}
