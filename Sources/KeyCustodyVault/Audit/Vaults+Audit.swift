public import KeyCustody

extension Vaults {
  /// What was done with a key, and tried: for whoever may `get` keys of its vault (SEMANTICS V11).
  ///
  /// Of all its versions where the address has none; also of a key that was deleted or purged. Reading is a use of
  /// `get` and is recorded like any other.
  ///
  /// - Throws: `denied`; `unsupported` when the deployment's audit events go somewhere that can't be read.
  public func auditRecords(
    ofKey uri: KeyURI, _ request: AuditPageRequest = AuditPageRequest(), as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> AuditPage {
    try await perform(.get, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      return (try await self.history().events(ofKey: uri, request), uri)
    }
  }

  /// How a vault was administered, and by whom: for whoever may `get` its keys.
  ///
  /// - Throws: as ``auditRecords(ofKey:_:as:context:)``.
  public func administrationRecords(
    of vault: VaultName, _ request: AuditPageRequest = AuditPageRequest(), as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> AuditPage {
    let log = CollectionAddress(authority: "\(vault.folded).\(domain)", vault: vault, path: "audit")
    return try await perform(.key(.get), on: log, by: .caller(caller), context: context) {
      (_) throws(KeyCustodyError) in
      (try await self.administrationRecords(of: vault, request), log)
    }
  }

  /// How a vault was administered, for whoever has the right to administer it.
  package func administrationRecords(
    of vault: VaultName, _ request: AuditPageRequest
  ) async throws(KeyCustodyError) -> AuditPage {
    try await history().administration(ofVault: address(vault), request)
  }

  private func history() throws(KeyCustodyError) -> any AuditHistory {
    if let history = audit as? any AuditHistory { return history }
    throw KeyCustodyError(
      .unsupported, .notOffered, "What was done is not kept where it can be read.",
      remedy: "Set audit.folder in the configuration.")
  }
}
