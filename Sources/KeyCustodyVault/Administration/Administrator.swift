public import KeyCustody

/// On whose behalf vaults and identities are administered, as audit records tell it.
public struct Administrator: Sendable, Hashable {
  /// Who: `operator/local` for whoever runs the deployment, otherwise a principal.
  public var name: String
  /// How that is known.
  public var method: String
  /// What gives the right to it.
  public var rule: String
  /// Ties what is done to the request that asked for it.
  public var requestID: String
  /// The network address of the request; `nil` from within this process.
  public var source: String?

  /// The name of whoever runs the deployment.
  public static let operatorName = "operator/local"
  /// What the host program does by itself, unless it says for whom.
  public static let host = Administrator(operatorBy: "host")

  /// Whoever runs the deployment: `method` says how they asked, like `commandLine`.
  public init(operatorBy method: String, requestID: String = "") {
    name = Self.operatorName
    self.method = method
    rule = "operator"
    self.requestID = requestID
  }

  /// An authenticated principal, that has its tenant's administration.
  public init(_ principal: Principal, context: CallContext) {
    self.init(asking: principal, context)
    rule = "administrator"
  }

  /// An authenticated principal that asks about itself, which needs no right.
  package init(asking principal: Principal, _ context: CallContext) {
    name = principal.id.description
    method = principal.method.rawValue
    rule = "-"
    requestID = context.requestID
    source = context.clientAddress
  }
}
