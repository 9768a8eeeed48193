import KeyCustody
import Testing

@Suite("Access policy")
struct AccessPolicyTests {
  private let tenant: TenantID
  private let other: TenantID
  private let id: PrincipalID

  init() throws {
    tenant = try TenantID("contoso")
    other = try TenantID("fabrikam")
    id = PrincipalID(tenant: tenant, subject: try SubjectID("app"))
  }

  private func ask(
    _ policy: AccessPolicy, _ permission: KeyPermission, id: PrincipalID? = nil, tenant: TenantID? = nil,
    restrictedTo: Set<KeyPermission>? = nil
  ) -> AccessDecision {
    let principal = Principal(
      id: id ?? self.id, kind: .servicePrincipal, method: .token, expires: Timestamp(seconds: 1),
      restrictedTo: restrictedTo)
    return policy.decide(AccessRequest(principal: principal, permission: permission, tenant: tenant ?? self.tenant))
  }

  @Test("V4: nothing is allowed that no policy grants", arguments: KeyPermission.allCases)
  func defaultDeny(_ permission: KeyPermission) {
    #expect(ask(AccessPolicy(), permission) == AccessDecision(isAllowed: false, rule: "default-deny"))
    let empty = AccessPolicy(rules: [AccessRule(name: "none", principal: id, keys: [])])
    #expect(ask(empty, permission) == AccessDecision(isAllowed: false, rule: "default-deny"))
  }

  @Test("V4: no permission implies another", arguments: KeyPermission.allCases)
  func nothingImplies(_ granted: KeyPermission) {
    let policy = AccessPolicy(rules: [AccessRule(name: "one", principal: id, keys: [granted])])
    for asked in KeyPermission.allCases {
      let due =
        asked == granted
        ? AccessDecision(isAllowed: true, rule: "one") : AccessDecision(isAllowed: false, rule: "default-deny")
      #expect(ask(policy, asked) == due)
    }
  }

  @Test("V4: no denial denies another", arguments: KeyPermission.allCases)
  func nothingDeniesMore(_ denied: KeyPermission) {
    let policy = AccessPolicy(rules: [
      AccessRule(name: "all", principal: id, keys: Set(KeyPermission.allCases)),
      AccessRule(name: "not", principal: id, effect: .deny, keys: [denied]),
    ])
    for asked in KeyPermission.allCases { #expect(ask(policy, asked).isAllowed == (asked != denied)) }
  }

  @Test("An explicit deny wins, wherever it stands, and the rule that decided is named")
  func denyWins() {
    let allow = AccessRule(name: "allow", principal: id, keys: [.wrapKey, .get])
    let deny = AccessRule(name: "deny", principal: id, effect: .deny, keys: [.wrapKey])
    for rules in [[allow, deny], [deny, allow], [allow, deny, allow]] {
      let policy = AccessPolicy(rules: rules)
      #expect(ask(policy, .wrapKey) == AccessDecision(isAllowed: false, rule: "deny"))
      #expect(ask(policy, .get) == AccessDecision(isAllowed: true, rule: "allow"))
    }
  }

  @Test("A rule is about its principal alone")
  func otherPrincipal() throws {
    let stranger = PrincipalID(tenant: tenant, subject: try SubjectID("app2"))
    let policy = AccessPolicy(rules: [
      AccessRule(name: "mine", principal: id, keys: [.get]),
      AccessRule(name: "not-theirs", principal: stranger, effect: .deny, keys: [.list]),
    ])
    #expect(!ask(policy, .get, id: stranger).isAllowed)
    #expect(!ask(policy, .list).isAllowed)
    let spelled = PrincipalID(tenant: tenant, subject: try SubjectID("APP"))
    #expect(ask(policy, .get, id: spelled).isAllowed)
  }

  @Test("I5: nothing crosses a tenant, whatever the rules say")
  func otherTenant() throws {
    let foreign = PrincipalID(tenant: other, subject: id.subject)
    let policy = AccessPolicy(rules: [
      AccessRule(name: "foreign", principal: foreign, keys: Set(KeyPermission.allCases)),
      AccessRule(name: "own", principal: id, keys: Set(KeyPermission.allCases)),
    ])
    for permission in KeyPermission.allCases {
      #expect(ask(policy, permission, id: foreign) == AccessDecision(isAllowed: false, rule: "other-tenant"))
      #expect(ask(policy, permission, tenant: other) == AccessDecision(isAllowed: false, rule: "other-tenant"))
      #expect(ask(policy, permission).isAllowed)
    }
  }

  @Test("A restriction narrows what policies grant and grants nothing itself")
  func restriction() {
    let policy = AccessPolicy(rules: [AccessRule(name: "r", principal: id, keys: [.get, .sign])])
    let refused = AccessDecision(isAllowed: false, rule: "restriction")
    #expect(ask(policy, .get, restrictedTo: [.get]).isAllowed)
    #expect(ask(policy, .sign, restrictedTo: [.get]) == refused)
    #expect(ask(policy, .get, restrictedTo: []) == refused)
    let ungranted = ask(policy, .wrapKey, restrictedTo: [.wrapKey])
    #expect(ungranted == AccessDecision(isAllowed: false, rule: "default-deny"))
  }

  @Test("The list of permissions and the decisions agree")
  func permissionsAgree() {
    let policy = AccessPolicy(rules: [
      AccessRule(name: "a", principal: id, keys: [.get, .list, .wrapKey]),
      AccessRule(name: "b", principal: id, effect: .deny, keys: [.list]),
      AccessRule(name: "c", principal: id, keys: [.list, .sign]),
    ])
    let allowed = Set(KeyPermission.allCases.filter { ask(policy, $0).isAllowed })
    #expect(allowed == [.get, .wrapKey, .sign])
    #expect(policy.permissions(of: id) == allowed)
  }

  @Test("V4: the permissions are those of the wire, and a policy travels through JSON")
  func wireNames() throws {
    #expect(KeyPermission.allCases.count == 19)
    #expect(KeyPermission(rawValue: "wrapKey") == .wrapKey)
    #expect(KeyPermission(rawValue: "import") == .import)
    #expect(KeyPermission(rawValue: "setRotationPolicy") == .setRotationPolicy)
    let policy = AccessPolicy(rules: [AccessRule(name: "a", principal: id, effect: .deny, keys: [.get, .import])])
    #expect(try roundTrip(policy) == policy)
  }
}
