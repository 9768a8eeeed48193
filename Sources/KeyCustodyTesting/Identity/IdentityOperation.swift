import KeyCustody

/// The operations of a directory that faults are tried on.
enum IdentityOperation: String, Sendable, CaseIterable {
  case create, lookup, delete
  case switchOff = "switching off"
  case clientSecret = "issuing a client secret"
  case apiKey = "regenerating an API key"
  case token = "issuing a token"
  case managedIdentity = "making a managed identity"
  case authenticateSecret = "authenticating by client secret"
  case authenticateKey = "authenticating by API key"
  case authenticateToken = "authenticating by token"

  /// Whether it changes what the directory keeps.
  var isChange: Bool {
    switch self {
    case .create, .delete, .switchOff, .clientSecret, .apiKey, .managedIdentity: true
    case .lookup, .token, .authenticateSecret, .authenticateKey, .authenticateToken: false
    }
  }

  /// What a fault of a kind can do to it.
  func isConcerned(by kind: FaultKind) -> Bool {
    switch kind {
    case .crash: isChange
    case .full: isChange && self != .delete && self != .switchOff
    case .loggedOut, .credentialRefused: false
    default: true
    }
  }
}

/// Whom one operation is done to, and with what they prove who they are.
struct IdentityTarget: Sendable {
  var id: PrincipalID
  var resource: ResourceID?
  var secret = ""
  var firstKey = ""
  var secondKey = ""
  var token = ""
}

/// What an operation answered.
enum IdentityAnswer: Sendable {
  case done
  case record(PrincipalRecord?)
  case text(String)
  case principal(Principal)
  case id(PrincipalID)
}

extension IdentityTrial {
  /// Does an operation once.
  func perform(_ operation: IdentityOperation, _ target: IdentityTarget) async throws(KeyCustodyError) -> IdentityAnswer
  {
    let id = target.id
    switch operation {
    case .create: try await administration.create(id, kind: .servicePrincipal)
    case .lookup: return .record(try await administration.lookup(id))
    case .delete: try await administration.delete(id)
    case .switchOff: try await administration.setEnabled(false, id)
    case .clientSecret: return .text(try await administration.issueClientSecret(for: id, expires: nil))
    case .apiKey: return .text(try await administration.regenerateAPIKey(.first, for: id))
    case .token:
      return .text(try await administration.issueToken(for: id, audience: audience, lifetime: .seconds(3600)))
    case .managedIdentity:
      guard let resource = target.resource else { return .done }
      return .id(try await administration.createManagedIdentity(for: resource, tenant: id.tenant))
    case .authenticateSecret: return .principal(try await authenticate(.secret(id, target.secret)))
    case .authenticateKey: return .principal(try await authenticate(.apiKey(target.firstKey)))
    case .authenticateToken: return .principal(try await authenticate(.token(target.token)))
    }
    return .done
  }
}
