import KeyCustody

/// Something that lies in a vault and has an address there.
protocol VaultAddress: Sendable {
  /// Host and port of the vault.
  var authority: String { get }
  var vault: VaultName { get throws(KeyCustodyError) }
  /// The written form, as it stands in audit events.
  var description: String { get }
}

extension KeyURI: VaultAddress {}

/// All keys or all secrets of a vault.
struct CollectionAddress: VaultAddress {
  let authority: String
  let vault: VaultName
  let path: String
  var description: String { "https://\(authority)/\(path)" }
}

/// Who is behind an operation.
enum Authority {
  /// Somebody whose rights are decided on.
  case caller(Principal)
  /// The vault itself, by its own setting: `rule` says which.
  case vault(rule: String)
}

/// What an operation works on, once it is allowed.
struct Admission {
  var vault: VaultDefinition
  /// Holds what is not said to be elsewhere: software-protected keys, and the vault's own.
  var provider: any KeyProvider
  /// Gives the provider of keys of a protection.
  var providers: (KeyProtection) throws(KeyCustodyError) -> any KeyProvider
  var rule: String
  /// Of a change that has a name of its own: the version it makes, the same at every attempt.
  var version: KeyVersionID?

  /// The provider that holds a version, or is to make it.
  func provider(of version: KeyVersionRecord) throws(KeyCustodyError) -> any KeyProvider {
    version.protection == .software ? provider : try providers(version.protection)
  }
}

/// The answer of a change that has none.
struct Done: Codable, Sendable {}

/// The way of every operation: identity → network → policy → body → audit → answer.
extension Vaults {
  /// Lets `body` happen if the rules allow it, and answers only when what happened is in the audit log.
  func perform<Address: VaultAddress, Answer>(
    _ permission: Permission, on target: Address, by authority: Authority, context: CallContext,
    _ body: (Admission) async throws(KeyCustodyError) -> (Answer, Address)
  ) async throws(KeyCustodyError) -> Answer {
    var event = event(permission, target, authority, context)
    do throws(KeyCustodyError) {
      let admission = try await admit(permission, on: target, by: authority, context, &event)
      if permission.changesSomething {
        // What can't be recorded must not happen, and a change can't be taken back afterwards.
        var intent = event
        intent.outcome = .intended
        try await audit.record(intent)
      }
      let (result, target) = try await body(admission)
      event.outcome = .allowed
      event.target = target.description
      try await audit.record(event)
      return result
    } catch {
      guard event.outcome != .allowed else { throw error }
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await audit.record(event)
      throw error
    }
  }

  /// Decides on an operation, and puts the rule that decided into its event.
  ///
  /// - Throws: `denied`, and the event says refused; `notFound`.
  func admit(
    _ permission: Permission, on target: some VaultAddress, by authority: Authority, _ context: CallContext,
    _ event: inout AuditEvent
  ) async throws(KeyCustodyError) -> Admission {
    let vault = try target.vault
    guard target.authority == "\(vault.folded).\(domain)" else { throw VaultErrors.vaultUnknown(vault) }
    let record = try await required(vault)
    let decision = try await decide(permission, on: record, by: authority, context)
    event.rule = decision.rule
    guard decision.isAllowed else {
      event.outcome = .refused
      throw VaultErrors.denied(event.principal, permission, target.description, rule: event.rule, context)
    }
    return Admission(
      vault: record.definition, provider: try provider(of: record),
      providers: { (protection) throws(KeyCustodyError) in try self.provider(of: record, protection) },
      rule: decision.rule)
  }

  func perform<Answer>(
    _ permission: KeyPermission, on uri: KeyURI, as caller: Principal, context: CallContext,
    _ body: (Admission) async throws(KeyCustodyError) -> (Answer, KeyURI)
  ) async throws(KeyCustodyError) -> Answer {
    try await perform(.key(permission), on: uri, by: .caller(caller), context: context, body)
  }

  /// Like ``perform(_:on:by:context:_:)``, for what must not happen twice under one name of the caller's.
  func change<Address: VaultAddress, Answer: Codable>(
    _ permission: Permission, on target: Address, by authority: Authority, context: CallContext,
    _ body: (Admission) async throws(KeyCustodyError) -> (Answer, Address)
  ) async throws(KeyCustodyError) -> Answer {
    try await perform(permission, on: target, by: authority, context: context) {
      (admission) throws(KeyCustodyError) -> (Answer, Address) in
      guard let name = context.clientRequestID else { return try await body(admission) }
      var ticket = try await self.requests.take(
        name, permission, of: authority, on: target, within: context.repeatsWithin)
      if let answer: Answer = try ticket.answer() {
        var holds = !context.repeatsOnlyWhatHolds
        if !holds { holds = try await self.isCurrent(answer) }
        if holds { return (answer, target) }
        // Something else was done since: who asks now means it anew.
        ticket = try await self.requests.renew(ticket, within: context.repeatsWithin)
      }
      var admission = admission
      admission.version = ticket.request.version
      let answer = try await body(admission)
      try await self.requests.settle(ticket, answer.0)
      return answer
    }
  }

  /// Whether what a change made is still as it left it: its version the newest, and not deleted.
  private func isCurrent(_ answer: some Codable) async throws(KeyCustodyError) -> Bool {
    switch answer {
    case let key as KeyBundle:
      let record = try await keys.read(try Self.path(key.uri))
      return record?.deletion == nil && record?.newest == key.attributes
    case let secret as SecretBundle:
      let record = try await secrets.read(try Self.path(secret.uri))
      return record?.deletion == nil && record?.newest == secret.attributes
    case let deleted as DeletedKeyBundle:
      return try await keys.read(try Self.path(deleted.key.uri))?.deletion == deleted.deletion
    case let deleted as DeletedSecretBundle:
      return try await secrets.read(try Self.path(deleted.secret.uri))?.deletion == deleted.deletion
    default: return true
    }
  }

  func change<Answer: Codable>(
    _ permission: KeyPermission, on uri: KeyURI, as caller: Principal, context: CallContext,
    _ body: (Admission) async throws(KeyCustodyError) -> (Answer, KeyURI)
  ) async throws(KeyCustodyError) -> Answer {
    try await change(.key(permission), on: uri, by: .caller(caller), context: context, body)
  }

  func decide(
    _ permission: Permission, on record: VaultRecord, by authority: Authority, _ context: CallContext
  ) async throws(KeyCustodyError) -> AccessDecision {
    guard case .caller(let caller) = authority else { return AccessDecision(isAllowed: true, rule: authority.method) }
    guard record.network.admits(context.clientAddress) else { return AccessDecision(isAllowed: false, rule: "network") }
    let policy = try await policies.read(try Self.path(record.definition.name, "policy")) ?? AccessPolicy()
    let decision = policy.decide(
      AccessRequest(principal: caller, permission: permission, tenant: record.definition.tenant))
    guard decision.isAllowed, caller.expires <= environment.time.now() else { return decision }
    return AccessDecision(isAllowed: false, rule: "expired")
  }

  func event(
    _ permission: Permission, _ target: some VaultAddress, _ authority: Authority, _ context: CallContext
  ) -> AuditEvent {
    AuditEvent(
      time: environment.time.now(), principal: authority.name, method: authority.method,
      action: permission.description, target: target.description, resource: context.resource?.spelling, rule: "-",
      outcome: .failed, error: nil, requestID: context.requestID, source: context.clientAddress)
  }
}

extension Authority {
  /// Whether nobody asked: the vault does what it is set to do.
  var isVault: Bool { if case .vault = self { true } else { false } }

  /// Who, in audit events.
  var name: String {
    switch self {
    case .caller(let principal): principal.id.description
    case .vault: "vault"
    }
  }
  /// How it is known, in audit events; for the vault itself the setting.
  var method: String {
    switch self {
    case .caller(let principal): principal.method.rawValue
    case .vault(let rule): rule
    }
  }
}

extension Permission {
  /// Whether what it allows changes a key or a secret, or its provider.
  fileprivate var changesSomething: Bool {
    switch self {
    case .key(.create), .key(.import), .key(.update), .key(.delete), .key(.recover), .key(.purge), .key(.restore),
      .key(.rotate), .key(.setRotationPolicy), .secret(.set), .secret(.delete), .secret(.recover), .secret(.purge),
      .secret(.restore):
      true
    case .key(.get), .key(.list), .key(.backup), .key(.encrypt), .key(.decrypt), .key(.wrapKey), .key(.unwrapKey),
      .key(.sign), .key(.verify), .key(.getRotationPolicy), .secret(.get), .secret(.list), .secret(.backup):
      false
    }
  }
}
