package import KeyCustody

extension Vaults {
  /// Uses a key that is in no vault of this deployment, and answers only when what came of it is in the audit log.
  ///
  /// - Parameter place: where the key is, and who decides there; what stands in the event as the rule.
  package func useElsewhere<Answer: ~Copyable>(
    _ permission: KeyPermission, of key: KeyURI, in place: ProviderIdentity, as caller: Principal,
    context: CallContext, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    var event = event(.key(permission), key, .caller(caller), context)
    event.rule = place.description
    let answer: Answer
    do throws(KeyCustodyError) { answer = try await body() } catch {
      event.outcome = error.code == .denied ? .refused : .failed
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await audit.record(event)
      throw error
    }
    event.outcome = .allowed
    try await audit.record(event)
    return answer
  }
}
