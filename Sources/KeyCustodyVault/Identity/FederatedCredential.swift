public import KeyCustody

/// A subject of an outside issuer that may act as a principal of the directory (workload identity federation).
public struct FederatedCredential: Sendable, Hashable, Codable {
  /// The outside issuer.
  public var issuer: FederatedIssuer
  /// The `sub` of its tokens.
  public var subject: String
  /// The `aud` that its tokens must have.
  public var audience: String

  /// The audience that clients of Key Vault ask their issuers for.
  public static let usualAudience = "api://AzureADTokenExchange"

  /// A credential.
  public init(issuer: FederatedIssuer, subject: String, audience: String = usualAudience) {
    self.issuer = issuer
    self.subject = subject
    self.audience = audience
  }
}

extension DirectoryIdentityProvider {
  /// The most outside subjects that one principal trusts.
  public static let mostFederatedCredentials = 20

  /// Lets a subject of an outside issuer act as a principal; what it had already stays as it is.
  ///
  /// - Throws: `notFound`; `invalidInput` (`wrong-size`) for too many or too long ones, `malformed` for an issuer over
  ///   http that is not on this machine, `no-secret-of-its-own` for a managed identity.
  public func addFederatedCredential(
    _ credential: FederatedCredential, to id: PrincipalID
  ) async throws(KeyCustodyError) {
    let texts = [credential.issuer.name, credential.subject, credential.audience]
    guard texts.allSatisfy({ (1...600).contains($0.utf8.count) }), credential.issuer.name.contains("://") else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A federated credential has an issuer (a URL), a subject and an audience.",
        remedy: "Give each as the issuer's tokens have it, in 1 to 600 bytes.")
    }
    guard credential.issuer.isProtected else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "The issuer '\(credential.issuer.name.prefix(80))' is not an https URL.",
        remedy: "Give its https URL; http is only for an issuer on this machine, by its address: http://127.0.0.1:PORT."
      )
    }
    let detail = "\(credential.subject) of \(credential.issuer.name) for \(credential.audience)"
    try await recorded("federate", id, detail) { () async throws(KeyCustodyError) in
      try await changeRecord(id) { (record) throws(KeyCustodyError) in
        var known = record.federations ?? []
        guard !known.contains(credential) else { return }
        guard known.count < Self.mostFederatedCredentials else {
          throw KeyCustodyError(
            .invalidInput, .wrongSize,
            "The principal '\(id)' trusts \(Self.mostFederatedCredentials) outside subjects already.",
            remedy: "Remove one first.")
        }
        known.append(credential)
        record.federations = known
      }
    }
  }

  /// Takes that back; one that is not there is no error.
  public func removeFederatedCredential(
    _ credential: FederatedCredential, from id: PrincipalID
  ) async throws(KeyCustodyError) {
    let detail = "\(credential.subject) of \(credential.issuer.name) for \(credential.audience)"
    try await recorded("unfederate", id, detail) { () async throws(KeyCustodyError) in
      try await changeRecord(id) { (record) throws(KeyCustodyError) in
        let rest = (record.federations ?? []).filter { $0 != credential }
        record.federations = rest.isEmpty ? nil : rest
      }
    }
  }

  /// Authenticates a principal by a token of an outside issuer that it trusts.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`), always the same; `unavailable` when the issuer's keys can't be had.
  public func authenticate(
    _ id: PrincipalID, assertion: String, by verifier: any FederatedTokenVerifier
  ) async throws(KeyCustodyError) {
    guard let record = try await record(id), record.isEnabled else { throw Self.rejected }
    var outage: KeyCustodyError?
    for credential in record.federations ?? [] {
      do throws(KeyCustodyError) {
        let claims = try await verifier.verify(assertion, from: credential.issuer, audience: credential.audience)
        // Byte by byte: what only looks alike is somebody else.
        if claims.subject.utf8.elementsEqual(credential.subject.utf8) { return }
      } catch {
        if error.code != .credentialRejected { outage = error }
      }
    }
    throw outage.map { [.unavailable, .busy, .timeout].contains($0.code) ? $0 : Self.rejected } ?? Self.rejected
  }
}

extension FederatedIssuer {
  /// Whether nobody in between can answer for it: https, or http on a loopback address written in numbers.
  var isProtected: Bool {
    if name.hasPrefix("https://") { return true }
    guard name.hasPrefix("http://") else { return false }
    let authority = name.dropFirst("http://".count).prefix { !"/?#".contains($0) }
    if authority == "[::1]" || authority.hasPrefix("[::1]:") { return true }
    let halves = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let parts = (halves.first ?? "").split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0)?.description == String($0) }
      && (halves.count == 1 || UInt16(halves[1]) != nil)
  }
}
