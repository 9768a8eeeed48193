package import KeyCustody

extension Vaults {
  /// Records what happened before any vault was asked: who tried to get in, and with what success.
  package func record(_ event: AuditEvent) async throws(KeyCustodyError) { try await audit.record(event) }
}
