/// One permission on keys (SEMANTICS V4), by its name on the wire.
///
/// No permission implies another.
public enum KeyPermission: String, Sendable, Hashable, Codable, CaseIterable {
  /// Read a key's public part and attributes.
  case get
  /// List keys and versions.
  case list
  /// Make a key or a version.
  case create
  /// Bring in a key.
  case `import`
  /// Change attributes.
  case update
  /// Soft-delete a key or a version.
  case delete
  /// Bring back a soft-deleted key.
  case recover
  /// Destroy a soft-deleted key before its retention has run out.
  case purge
  /// Back up a key.
  case backup
  /// Restore a key.
  case restore
  /// Encrypt data.
  case encrypt
  /// Decrypt data.
  case decrypt
  /// Wrap a key.
  case wrapKey
  /// Unwrap a key.
  case unwrapKey
  /// Sign.
  case sign
  /// Verify.
  case verify
  /// Make a new version.
  case rotate
  /// Read the rotation policy.
  case getRotationPolicy
  /// Set the rotation policy.
  case setRotationPolicy
}

/// What one rule of a vault says about one principal.
public struct AccessRule: Sendable, Hashable, Codable {
  /// Whether a rule grants or forbids.
  public enum Effect: String, Sendable, Codable {
    /// Grants.
    case allow
    /// Forbids, whatever else grants.
    case deny
  }
  /// A name, told in every decision the rule makes.
  public var name: String
  /// Whom it concerns.
  public var principal: PrincipalID
  /// Whether it grants or forbids.
  public var effect: Effect
  /// The key permissions concerned.
  public var keys: Set<KeyPermission>

  /// A rule.
  public init(name: String, principal: PrincipalID, effect: Effect = .allow, keys: Set<KeyPermission>) {
    self.name = name
    self.principal = principal
    self.effect = effect
    self.keys = keys
  }
}

/// Who asks to do what.
public struct AccessRequest: Sendable, Hashable {
  /// The authenticated caller.
  public var principal: Principal
  /// What it wants to do.
  public var permission: KeyPermission
  /// The tenant of what is acted on.
  public var tenant: TenantID
  /// A question.
  public init(principal: Principal, permission: KeyPermission, tenant: TenantID) {
    self.principal = principal
    self.permission = permission
    self.tenant = tenant
  }
}

/// The answer of the policy: a value, with the rule that decided.
public struct AccessDecision: Sendable, Hashable {
  /// Whether it is allowed.
  public let isAllowed: Bool
  /// The rule that decided: a rule's name, `default-deny`, `other-tenant` or `restriction`.
  public let rule: String
  /// An answer.
  public init(isAllowed: Bool, rule: String) {
    self.isAllowed = isAllowed
    self.rule = rule
  }
}

/// The rules of one vault, and the decision over them: default deny, an explicit deny wins, nothing implies anything.
public struct AccessPolicy: Sendable, Hashable, Codable {
  /// The rules.
  public var rules: [AccessRule]

  /// A policy.
  public init(rules: [AccessRule] = []) { self.rules = rules }

  /// Decides a request.
  public func decide(_ request: AccessRequest) -> AccessDecision {
    guard request.principal.id.tenant == request.tenant else {
      return AccessDecision(isAllowed: false, rule: "other-tenant")
    }
    if let allowed = request.principal.restrictedTo, !allowed.contains(request.permission) {
      return AccessDecision(isAllowed: false, rule: "restriction")
    }
    let matching = rules.filter { $0.principal == request.principal.id && $0.keys.contains(request.permission) }
    if let rule = matching.first(where: { $0.effect == .deny }) ?? matching.first {
      return AccessDecision(isAllowed: rule.effect == .allow, rule: rule.name)
    }
    return AccessDecision(isAllowed: false, rule: "default-deny")
  }

  /// Everything a principal may do, for explanations and checks in advance.
  public func permissions(of principal: PrincipalID) -> Set<KeyPermission> {
    let own = rules.filter { $0.principal == principal }
    let allowed = own.filter { $0.effect == .allow }.reduce(into: Set()) { $0.formUnion($1.keys) }
    return own.filter { $0.effect == .deny }.reduce(into: allowed) { $0.subtract($1.keys) }
  }
}
