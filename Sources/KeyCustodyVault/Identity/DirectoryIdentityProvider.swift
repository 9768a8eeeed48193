public import KeyCustody
package import KeyCustodyCrypto
import Synchronization

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A directory of principals, composed of a policy store (its records) and a key provider (the key its tokens are
/// signed with): wherever those two keep their things, the directory does.
public struct DirectoryIdentityProvider: IdentityProvider, IdentityAdministration {
  /// The directory's records and signing key live here.
  public let identity: ProviderIdentity
  /// Told of a change before the call that made it is answered.
  public let observers = Observers<IdentityEvent>()
  private let records: RecordView<DirectoryRecord>
  private let tokens: TokenAuthority
  private let environment: RuntimeEnvironment
  private let broadcaster = EventBroadcaster<IdentityEvent>()
  private let closing = Closing()
  private let log: AdministrationLog?
  private var administrator = Administrator.host

  /// Opens the directory of a store, and makes its signing key when there is none.
  ///
  /// - Parameters:
  ///   - issuer: an https URL; the `iss` of its tokens is `ISSUER/TENANT/v2.0`.
  ///   - audit: where changes of principals and of their credentials are recorded before they are answered.
  /// - Throws: `unsupported` when the key provider makes no signing keys; what the store and the provider throw.
  public init(
    store: any PolicyStore, signer: any KeyProvider, issuer: String, environment: RuntimeEnvironment,
    audit: (any AuditSink)? = nil
  ) async throws(KeyCustodyError) {
    records = RecordView(store)
    tokens = try await TokenAuthority(store: store, signer: signer, issuer: issuer, environment: environment)
    identity = ProviderIdentity(kind: "directory", instance: "\(store.identity)")
    self.environment = environment
    log = audit.map { AdministrationLog($0, time: environment.time) }
  }

  /// The same directory, whose changes are recorded as made for `administrator`; otherwise they are the host's.
  public func administered(by administrator: Administrator) -> DirectoryIdentityProvider {
    var directory = self
    directory.administrator = administrator
    return directory
  }

  func recorded<Answer>(
    _ action: String, _ id: PrincipalID, _ detail: String? = nil,
    _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    guard let log else { return try await body() }
    let act = AdministrativeAct("identities/\(action)", on: id.description, detail)
    return try await log.change(act, by: administrator, body)
  }

  /// See ``IdentityProvider``.
  public var administration: (any IdentityAdministration)? { self }
  /// See ``IdentityProvider``.
  public func events() -> AsyncStream<IdentityEvent> { broadcaster.stream() }
  /// Ends the event streams; the store and the key provider belong to whoever made them.
  public func close() async {
    closing.isClosed.store(true, ordering: .releasing)
    broadcaster.finish()
  }

  private func checkOpen() throws(KeyCustodyError) {
    guard closing.isClosed.load(ordering: .acquiring) else { return }
    throw KeyCustodyError(.unavailable, .closed, "The directory '\(identity)' was closed.")
  }

  /// See ``IdentityProvider``.
  public func authenticate(
    _ credential: borrowing Credential, audience: String
  ) async throws(KeyCustodyError) -> Principal {
    try checkOpen()
    return switch credential.form {
    case .token(let token): try await authenticate(token: token, for: [audience])
    case .clientSecret(let id): try await authenticate(id, secret: credential.secret)
    case .apiKey: try await authenticate(apiKey: credential.secret)
    }
  }

  /// Authenticates a token of this directory that is meant for one of several audiences.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`); what the store throws.
  public func authenticate(token: String, for audiences: Set<String>) async throws(KeyCustodyError) -> Principal {
    try checkOpen()
    return try await authenticate(try tokens.verify(token, audiences: audiences))
  }

  private func authenticate(_ claims: TokenAuthority.Claims) async throws(KeyCustodyError) -> Principal {
    guard let id = claims.principal, let record = try await records.read(try Self.key(id)), record.isEnabled,
      record.objectID == claims.oid
    else { throw Self.rejected }
    return record.principal(method: .token, expires: Timestamp(seconds: claims.exp))
  }

  /// What a token of this directory says, found good once: its bearer is authenticated by it again and again without the
  /// token itself, each time by what is on record of them then.
  package struct Session: Sendable {
    fileprivate let claims: TokenAuthority.Claims
  }

  /// Issues a token and keeps what it says in its place.
  ///
  /// - Throws: as ``issueToken(for:audience:lifetime:)``.
  package func session(
    for id: PrincipalID, audience: String, lifetime: Duration
  ) async throws(KeyCustodyError) -> Session {
    Session(
      claims: try tokens.verify(
        try await issueToken(for: id, audience: audience, lifetime: lifetime), audiences: [audience]))
  }

  /// Authenticates the bearer of a token that was found good.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`) when it has ended, or its bearer was switched off or deleted.
  package func authenticate(_ session: Session) async throws(KeyCustodyError) -> Principal {
    try checkOpen()
    let now = environment.time.now().seconds
    guard session.claims.nbf <= now, now < session.claims.exp else { throw Self.rejected }
    return try await authenticate(session.claims)
  }

  private func authenticate(
    _ id: PrincipalID, secret: borrowing SecretBytes
  ) async throws(KeyCustodyError) -> Principal {
    let record = try await records.read(try Self.key(id))
    let now = environment.time.now()
    // Every stored hash is compared, and one where there is none, so that time tells nothing.
    var isRight = false
    for stored in record?.secrets ?? [SecretHash.nobody] {
      if try stored.matches(secret), stored.expires.map({ now < $0 }) ?? true { isRight = true }
    }
    guard isRight, let record, record.isEnabled else { throw Self.rejected }
    return record.principal(method: .clientSecret, expires: now + .seconds(3600))
  }

  private func authenticate(apiKey key: borrowing SecretBytes) async throws(KeyCustodyError) -> Principal {
    guard let id = Self.principal(namedBy: key) else { throw Self.rejected }
    let record = try await records.read(try Self.key(id))
    var isRight = false
    for slot in APIKeySlot.allCases {
      let stored = record?.apiKeys[slot.rawValue]
      if try (stored ?? SecretHash.nobody).matches(key), stored != nil { isRight = true }
    }
    guard isRight, let record, record.isEnabled else { throw Self.rejected }
    return record.principal(method: .apiKey, expires: environment.time.now() + .seconds(3600))
  }

  /// See ``IdentityAdministration``.
  public func create(_ id: PrincipalID, kind: Principal.Kind) async throws(KeyCustodyError) {
    try checkOpen()
    try await recorded("create", id, kind.rawValue) { () async throws(KeyCustodyError) in
      try await add(
        DirectoryRecord(id: id, kind: kind, resource: nil, objectID: try environment.random.bytes(16).hexadecimal))
    }
  }

  /// See ``IdentityAdministration``.
  public func createManagedIdentity(
    for resource: ResourceID, tenant: TenantID
  ) async throws(KeyCustodyError) -> PrincipalID {
    try checkOpen()
    let id = PrincipalID(tenant: tenant, subject: try SubjectID(resource.spelling))
    try await recorded("create", id, "managedIdentity of \(resource)") { () async throws(KeyCustodyError) in
      try await add(
        DirectoryRecord(
          id: id, kind: .managedIdentity, resource: resource, objectID: try environment.random.bytes(16).hexadecimal))
    }
    return id
  }

  private func add(_ record: DirectoryRecord) async throws(KeyCustodyError) {
    guard try await records.create(try Self.key(record.id), record) else {
      throw KeyCustodyError(
        .invalidInput, .alreadyExists, "The principal '\(record.id)' exists already.",
        remedy: "Choose another name, or delete it first.")
    }
  }

  /// See ``IdentityAdministration``.
  public func lookup(_ id: PrincipalID) async throws(KeyCustodyError) -> PrincipalRecord? {
    try checkOpen()
    return try await records.read(try Self.key(id)).map {
      PrincipalRecord(id: $0.id, kind: $0.kind, resource: $0.resource, isEnabled: $0.isEnabled)
    }
  }

  /// Every principal of a tenant, by name.
  public func principals(of tenant: TenantID) async throws(KeyCustodyError) -> [PrincipalRecord] {
    try checkOpen()
    return try await records.all(prefix: "directory/principals/\(tenant.folded)/").map(\.value).map {
      PrincipalRecord(id: $0.id, kind: $0.kind, resource: $0.resource, isEnabled: $0.isEnabled)
    }
  }

  /// See ``IdentityAdministration``.
  public func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws(KeyCustodyError) {
    try checkOpen()
    try await recorded(isEnabled ? "enable" : "disable", id) { () async throws(KeyCustodyError) in
      do throws(KeyCustodyError) {
        try await change(id) { $0.isEnabled = isEnabled }
      } catch {
        if error.code != .notFound { tell(isEnabled ? .enabled(id) : .disabled(id)) }
        throw error
      }
      tell(isEnabled ? .enabled(id) : .disabled(id))
    }
  }

  /// See ``IdentityAdministration``.
  public func delete(_ id: PrincipalID) async throws(KeyCustodyError) {
    try checkOpen()
    try await recorded("delete", id) { () async throws(KeyCustodyError) in
      do throws(KeyCustodyError) {
        guard try await records.remove(try Self.key(id)) else { return }
      } catch {
        // It may have happened all the same.
        tell(.deleted(id))
        throw error
      }
      tell(.deleted(id))
    }
  }

  /// See ``IdentityAdministration``.
  public func issueClientSecret(for id: PrincipalID, expires: Timestamp?) async throws(KeyCustodyError) -> String {
    try checkOpen()
    let secret = "kcs." + (try environment.random.bytes(32).base64URL)
    let stored = try SecretHash(secret, expires: expires, random: environment.random)
    let now = environment.time.now()
    let until = expires.map { "client secret, until \($0.seconds)" } ?? "client secret"
    try await recorded("issueSecret", id, until) { () async throws(KeyCustodyError) in
      try await changeRecord(id) { (record) throws(KeyCustodyError) in
        record.secrets.removeAll { $0.expires.map { $0 <= now } ?? false }
        guard record.secrets.count < 8 else {
          throw KeyCustodyError(
            .invalidInput, .wrongSize, "The principal '\(id)' has 8 client secrets already.",
            remedy: "Give secrets an expiry, or make the principal anew.")
        }
        record.secrets.append(stored)
      }
    }
    return secret
  }

  /// See ``IdentityAdministration``.
  public func regenerateAPIKey(_ slot: APIKeySlot, for id: PrincipalID) async throws(KeyCustodyError) -> String {
    try checkOpen()
    let key = "kck.\(id.tenant).\(id.subject)." + (try environment.random.bytes(32).base64URL)
    let stored = try SecretHash(key, expires: nil, random: environment.random)
    try await recorded("issueSecret", id, "API key \(slot.rawValue)") { () async throws(KeyCustodyError) in
      try await changeRecord(id) { $0.apiKeys[slot.rawValue] = stored }
    }
    return key
  }

  /// The `iss` of a tenant's tokens.
  public func issuer(of tenant: TenantID) -> String { tokens.issuer(of: tenant) }

  /// The key by which tokens are verified.
  package var verificationKey: (version: KeyVersionID, algorithm: SignatureAlgorithm, publicKey: PublicKey) {
    tokens.verificationKey
  }

  /// See ``IdentityAdministration``.
  public func issueToken(
    for id: PrincipalID, audience: String, lifetime: Duration
  ) async throws(KeyCustodyError) -> String {
    try checkOpen()
    guard (.seconds(1)...(.seconds(86_400))).contains(lifetime) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A token lives from 1 second to 24 hours.")
    }
    guard let record = try await records.read(try Self.key(id)) else { throw Self.unknown(id) }
    guard record.isEnabled else {
      throw KeyCustodyError(
        .disabled, .identityOff, "The identity '\(id)' is switched off.",
        remedy: "Its tenant's administrator can switch it on.")
    }
    return try await tokens.issue(for: record, audience: audience, lifetime: lifetime)
  }

  private func change(
    _ id: PrincipalID, _ body: (inout DirectoryRecord) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    guard try await records.update(try Self.key(id), body) != nil else { throw Self.unknown(id) }
  }

  /// What is stored of a principal.
  func record(_ id: PrincipalID) async throws(KeyCustodyError) -> DirectoryRecord? {
    try checkOpen()
    return try await records.read(try Self.key(id))
  }

  /// Changes what is stored of a principal that may have credentials.
  func changeRecord(
    _ id: PrincipalID, _ body: (inout DirectoryRecord) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    try checkOpen()
    try await change(id) { (record) throws(KeyCustodyError) in
      try Self.requireSecrets(record)
      try body(&record)
    }
  }

  /// Refuses a managed identity: its host asks for its tokens, and nobody else can be it.
  private static func requireSecrets(_ record: DirectoryRecord) throws(KeyCustodyError) {
    guard record.kind == .managedIdentity else { return }
    throw KeyCustodyError(
      .invalidInput, .noSecretOfItsOwn, "The managed identity '\(record.id)' has no secret of its own.",
      remedy: "Let the service that runs its resource ask for a token, or make a service principal.")
  }

  private func tell(_ event: IdentityEvent) {
    observers.tell(event)
    broadcaster.send(event)
  }

  /// One error for an unknown principal, a wrong secret and a switched-off principal.
  static let rejected = KeyCustodyError(
    .credentialRejected, .wrongSecret, "The credential was not accepted.",
    remedy: "Ask the tenant's administrator for a valid one; repeating this one does not help.")

  private static func unknown(_ id: PrincipalID) -> KeyCustodyError {
    KeyCustodyError(.notFound, .principalUnknown, "There is no principal '\(id)'.", remedy: "Create it first.")
  }

  private static func key(_ id: PrincipalID) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("directory/principals/\(id.tenant.folded)/\(id.subject.folded)")
  }

  /// An API key names its principal: `kck.TENANT.SUBJECT.SECRET`.
  ///
  /// Only the names are taken out of the secret.
  private static func principal(namedBy secret: borrowing SecretBytes) -> PrincipalID? {
    guard secret.count <= 400 else { return nil }
    let names = secret.withBytes { bytes -> [String] in
      var parts: [[UInt8]] = [[]]
      for offset in 0..<bytes.byteCount where parts.count <= 3 {
        if bytes[offset] == UInt8(ascii: ".") { parts.append([]) } else { parts[parts.count - 1].append(bytes[offset]) }
      }
      return parts.prefix(3).map { String(decoding: $0, as: UTF8.self) }
    }
    guard names.count == 3, names[0] == "kck" else { return nil }
    return try? PrincipalID("\(names[1])/\(names[2])")
  }
}

extension KeyCustodyError.Reason {
  /// An identity that is switched off.
  public static let identityOff = Self("identity-off")
  /// A managed identity, which has neither client secrets nor API keys.
  public static let noSecretOfItsOwn = Self("no-secret-of-its-own")
  /// No such principal.
  public static let principalUnknown = Self("principal-unknown")
}

/// Whether a directory was closed, for all copies of the value.
private final class Closing: Sendable {
  let isClosed = Atomic(false)
}

/// What the directory stores of a principal.
struct DirectoryRecord: Codable, Sendable {
  var id: PrincipalID
  var kind: Principal.Kind
  var resource: ResourceID?
  /// Tells this principal from an earlier one of the same name, whose tokens may still be about.
  var objectID: String
  var isEnabled = true
  var secrets: [SecretHash] = []
  var apiKeys: [String: SecretHash] = [:]
  /// The outside subjects that may act as it; absent: none.
  var federations: [FederatedCredential]?

  func principal(method: Principal.Method, expires: Timestamp) -> Principal {
    Principal(id: id, kind: kind, resource: resource, method: method, expires: expires)
  }
}
