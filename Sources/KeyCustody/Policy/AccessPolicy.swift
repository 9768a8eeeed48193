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

/// One permission on secrets (SEMANTICS V4), by its name on the wire.
///
/// No permission implies another, and none on keys gives one on secrets.
public enum SecretPermission: String, Sendable, Hashable, Codable, CaseIterable {
  /// Read a secret's value and attributes.
  case get
  /// List secrets and versions, without their values.
  case list
  /// Write a value, or change attributes.
  case set
  /// Soft-delete a secret.
  case delete
  /// Bring back a soft-deleted secret.
  case recover
  /// Destroy a soft-deleted secret before its retention has run out.
  case purge
  /// Back up a secret.
  case backup
  /// Restore a secret.
  case restore
}

/// A permission on keys or on secrets.
///
/// Written `wrapKey` and `secrets/get`.
public enum Permission: Sendable, Hashable, CustomStringConvertible {
  /// On keys.
  case key(KeyPermission)
  /// On secrets.
  case secret(SecretPermission)

  /// Every permission there is.
  public static let all: [Permission] =
    KeyPermission.allCases.map(Permission.key) + SecretPermission.allCases.map(Permission.secret)

  /// The name, as it stands in audit events.
  public var description: String {
    switch self {
    case .key(let permission): permission.rawValue
    case .secret(let permission): "secrets/\(permission.rawValue)"
    }
  }
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
  /// The secret permissions concerned.
  public var secrets: Set<SecretPermission>

  /// A rule.
  public init(
    name: String, principal: PrincipalID, effect: Effect = .allow, keys: Set<KeyPermission>,
    secrets: Set<SecretPermission> = []
  ) {
    self.name = name
    self.principal = principal
    self.effect = effect
    self.keys = keys
    self.secrets = secrets
  }

  /// Reads a rule; one written before there were secrets says nothing about them.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    name = try container.decode(String.self, forKey: .name)
    principal = try container.decode(PrincipalID.self, forKey: .principal)
    effect = try container.decode(Effect.self, forKey: .effect)
    keys = try container.decode(Set<KeyPermission>.self, forKey: .keys)
    secrets = try container.decodeIfPresent(Set<SecretPermission>.self, forKey: .secrets) ?? []
  }

  /// Whether the rule speaks of that permission.
  public func concerns(_ permission: Permission) -> Bool {
    switch permission {
    case .key(let permission): keys.contains(permission)
    case .secret(let permission): secrets.contains(permission)
    }
  }
}

/// Who asks to do what.
public struct AccessRequest: Sendable, Hashable {
  /// The authenticated caller.
  public var principal: Principal
  /// What it wants to do.
  public var permission: Permission
  /// The tenant of what is acted on.
  public var tenant: TenantID
  /// A question.
  public init(principal: Principal, permission: Permission, tenant: TenantID) {
    self.principal = principal
    self.permission = permission
    self.tenant = tenant
  }
  /// A question about a key.
  public init(principal: Principal, permission: KeyPermission, tenant: TenantID) {
    self.init(principal: principal, permission: .key(permission), tenant: tenant)
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
    if let allowed = request.principal.restrictedTo {
      // A restriction names key permissions: whoever is under one gets at no secret.
      guard case .key(let permission) = request.permission, allowed.contains(permission) else {
        return AccessDecision(isAllowed: false, rule: "restriction")
      }
    }
    let matching = rules(on: request.permission, of: request.principal.id)
    if let rule = matching.first(where: { $0.effect == .deny }) ?? matching.first {
      return AccessDecision(isAllowed: rule.effect == .allow, rule: rule.name)
    }
    return AccessDecision(isAllowed: false, rule: "default-deny")
  }

  /// The rules that speak of a permission of a principal, in the order they were set.
  public func rules(on permission: Permission, of principal: PrincipalID) -> [AccessRule] {
    rules.filter { $0.principal == principal && $0.concerns(permission) }
  }

  /// Everything a principal may do with keys, for explanations and checks in advance.
  public func permissions(of principal: PrincipalID) -> Set<KeyPermission> {
    Set(KeyPermission.allCases.filter { grants(.key($0), to: principal) })
  }

  /// Everything a principal may do with secrets.
  public func secretPermissions(of principal: PrincipalID) -> Set<SecretPermission> {
    Set(SecretPermission.allCases.filter { grants(.secret($0), to: principal) })
  }

  private func grants(_ permission: Permission, to principal: PrincipalID) -> Bool {
    let matching = rules(on: permission, of: principal)
    return !matching.isEmpty && matching.allSatisfy { $0.effect == .allow }
  }
}
