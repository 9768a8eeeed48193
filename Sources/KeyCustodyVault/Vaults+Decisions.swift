public import KeyCustody
import Synchronization

/// Why somebody may, or may not, do something.
public struct AccessExplanation: Sendable, Hashable {
  /// The answer, with the rule that decided: a rule's name, `network`, `default-deny`, `other-tenant`, `restriction` or
  /// `expired`.
  public var decision: AccessDecision
  /// Every rule that speaks of that permission of that principal.
  public var rules: [AccessRule]
  /// What else stands in the way, although access is granted: the key's state, as an operation would tell it.
  public var obstacle: KeyCustodyError?

  /// Equal by what is decided and by which rules.
  public static func == (left: Self, right: Self) -> Bool {
    left.decision == right.decision && left.rules == right.rules && left.obstacle == right.obstacle
  }
  /// Hashes the decision and the rules.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(decision)
    hasher.combine(rules)
  }
}

/// What a change of a vault's rules would do to one permission of one principal.
public struct AccessChange: Sendable, Hashable {
  /// Whose.
  public var principal: PrincipalID
  /// Which.
  public var permission: Permission
  /// As it is.
  public var before: AccessDecision
  /// As it would be.
  public var after: AccessDecision
}

/// Something that would stop if a key could not be used.
public struct KeyDependent: Sendable, Hashable {
  /// The resource.
  public var resource: ResourceID
  /// The key version that it needs.
  public var key: KeyURI
  /// What it needs it for, for people.
  public var use: String

  /// A dependent.
  public init(resource: ResourceID, key: KeyURI, use: String) {
    self.resource = resource
    self.key = key
    self.use = use
  }
}

/// Questions that administrators ask before they change something.
extension Vaults {
  /// Finds the dependents of a key: of one version, or of all where the address names none.
  public typealias DependentSource = @Sendable (KeyURI) async throws(KeyCustodyError) -> [KeyDependent]

  /// Adds somebody who knows what depends on keys.
  public func addDependents(_ source: @escaping DependentSource) { dependents.withLock { $0.append(source) } }

  /// Why `principal` may, or may not, use a permission in a vault, and on a key where one is given.
  ///
  /// Who asked about whom is put on record.
  ///
  /// - Parameters:
  ///   - address: where the call would come from; `nil` for this process.
  ///   - administrator: who asks.
  public func explain(
    _ permission: Permission, in vault: VaultName, key: KeyURI? = nil, for principal: Principal,
    from address: String? = nil, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) -> AccessExplanation {
    let act = AdministrativeAct(
      "explain", on: key?.description ?? self.address(vault), "\(permission) of \(principal.id)")
    return try await administration.look(act, by: administrator) { () async throws(KeyCustodyError) in
      try await self.explanation(permission, in: vault, key: key, for: principal, from: address)
    }
  }

  /// Whether `principal` may use a permission in a vault, for decisions of this program's own: not put on record.
  package func admits(
    _ permission: Permission, in vault: VaultName, for principal: Principal, from address: String?
  ) async throws(KeyCustodyError) -> Bool {
    try await explanation(permission, in: vault, key: nil, for: principal, from: address).decision.isAllowed
  }

  private func explanation(
    _ permission: Permission, in vault: VaultName, key: KeyURI?, for principal: Principal, from address: String?
  ) async throws(KeyCustodyError) -> AccessExplanation {
    let record = try await required(vault)
    let decision = try await decide(
      permission, on: record, by: .caller(principal), CallContext(purpose: .administration, clientAddress: address))
    let rules = try await policy(of: vault).rules(on: permission, of: principal.id)
    var obstacle: KeyCustodyError?
    if let key, case .key(let permission) = permission {
      do throws(KeyCustodyError) {
        if let use = KeyUse(rawValue: permission.rawValue) {
          _ = try await usable(key, for: use)
        } else if ![.create, .import, .list, .recover, .purge, .restore].contains(permission) {
          _ = try await living(key)
        }
      } catch {
        guard error.code == .notFound || error.code == .disabled || error.code == .denied else { throw error }
        obstacle = error
      }
    }
    return AccessExplanation(decision: decision, rules: rules, obstacle: obstacle)
  }

  /// What would change if `policy` took the place of a vault's rules.
  ///
  /// - Returns: each permission of each principal that would be decided otherwise, ordered by principal.
  public func simulate(_ policy: AccessPolicy, in vault: VaultName) async throws(KeyCustodyError) -> [AccessChange] {
    let record = try await required(vault)
    let current = try await self.policy(of: vault)
    let principals = Set((current.rules + policy.rules).map(\.principal)).sorted { $0.description < $1.description }
    var changes: [AccessChange] = []
    for id in principals {
      let principal = Principal(id: id, kind: .user, method: .token, expires: Timestamp(milliseconds: .max))
      for permission in Permission.all {
        let request = AccessRequest(principal: principal, permission: permission, tenant: record.definition.tenant)
        let (before, after) = (current.decide(request), policy.decide(request))
        guard before.isAllowed != after.isAllowed else { continue }
        changes.append(AccessChange(principal: id, permission: permission, before: before, after: after))
      }
    }
    return changes
  }

  /// What would stop if a key, or the version in the address, were disabled, deleted or revoked.
  public func impact(of uri: KeyURI) async throws(KeyCustodyError) -> [KeyDependent] {
    var found: [KeyDependent] = []
    for source in dependents.withLock({ $0 }) { found += try await source(uri) }
    return found.sorted { ($0.resource, $0.key.description) < ($1.resource, $1.key.description) }
  }
}
