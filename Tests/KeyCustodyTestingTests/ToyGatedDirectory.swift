import KeyCustody
import KeyCustodyTesting

/// A toy directory whose every operation is one call to a device that may fail; sound but for one flaw.
struct ToyGatedDirectory: IdentityProvider, IdentityAdministration {
  let inner: ToyDirectory
  let faults: FaultSwitch
  let flaw: FaultFlaw?

  var identity: ProviderIdentity { inner.identity }
  var administration: (any IdentityAdministration)? { self }
  func events() -> AsyncStream<IdentityEvent> { inner.events() }
  func close() async { await inner.close() }

  private func gate<Answer: Sendable>(
    grows: Bool = false, _ work: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    let action = await faults.enterSuspending(grows: grows)
    if case .fail = action { throw KeyCustodyError(.unavailable, .unreachable, "The device can't be reached.") }
    let answer = try await work()
    guard action == .workThenFail else { return answer }
    throw flaw == .deniesChange
      ? KeyCustodyError(.unavailable, .unreachable, "The device can't be reached.")
      : KeyCustodyError(.timeout, .unreachable, "The device did not answer; it may have happened.")
  }

  func authenticate(_ credential: borrowing Credential, audience: String) async throws(KeyCustodyError) -> Principal {
    do throws(KeyCustodyError) { try await gate { () async throws(KeyCustodyError) in } } catch {
      if flaw == .outageIsRejection { throw KeyCustodyError(.credentialRejected, .wrongSecret, "No.") }
      throw error
    }
    return try await inner.authenticate(credential, audience: audience)
  }

  func create(_ id: PrincipalID, kind: Principal.Kind) async throws(KeyCustodyError) {
    try await gate(grows: true) { () async throws(KeyCustodyError) in try await inner.create(id, kind: kind) }
  }

  func lookup(_ id: PrincipalID) async throws(KeyCustodyError) -> PrincipalRecord? {
    do throws(KeyCustodyError) {
      return try await gate { () async throws(KeyCustodyError) in try await inner.lookup(id) }
    } catch {
      if flaw == .outageIsNobody { return nil }
      throw error
    }
  }

  func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws(KeyCustodyError) {
    try await gate { () async throws(KeyCustodyError) in try await inner.setEnabled(isEnabled, id) }
  }

  func delete(_ id: PrincipalID) async throws(KeyCustodyError) {
    do throws(KeyCustodyError) {
      try await gate { () async throws(KeyCustodyError) in try await inner.delete(id) }
    } catch {
      if flaw != .swallowsDeletion { throw error }
    }
  }

  func issueClientSecret(for id: PrincipalID, expires: Timestamp?) async throws(KeyCustodyError) -> String {
    try await gate(grows: true) { () async throws(KeyCustodyError) in
      try await inner.issueClientSecret(for: id, expires: expires)
    }
  }

  func regenerateAPIKey(_ slot: APIKeySlot, for id: PrincipalID) async throws(KeyCustodyError) -> String {
    try await gate(grows: true) { () async throws(KeyCustodyError) in try await inner.regenerateAPIKey(slot, for: id) }
  }

  func issueToken(for id: PrincipalID, audience: String, lifetime: Duration) async throws(KeyCustodyError) -> String {
    try await gate { () async throws(KeyCustodyError) in
      try await inner.issueToken(for: id, audience: audience, lifetime: lifetime)
    }
  }

  func createManagedIdentity(for resource: ResourceID, tenant: TenantID) async throws(KeyCustodyError) -> PrincipalID {
    try await gate(grows: true) { () async throws(KeyCustodyError) in
      try await inner.createManagedIdentity(for: resource, tenant: tenant)
    }
  }
}
