import KeyCustody
import KeyCustodyTesting
import Synchronization

/// Where a toy directory keeps its principals between openings.
final class ToyDirectoryDisk: Sendable {
  struct Secret: Sendable {
    var owner: PrincipalID
    var generation: Int
    var expires: Timestamp?
    var slot: APIKeySlot?
  }
  struct Entry: Sendable {
    var record: PrincipalRecord
    var generation: Int
  }
  struct Content: Sendable {
    var entries: [String: Entry] = [:]
    var secrets: [String: Secret] = [:]
    var generation = 0
  }
  let instance: String
  let content = Mutex(Content())
  private static let count = Atomic(0)
  init() { instance = "disk \(Self.count.add(1, ordering: .relaxed).newValue)" }
}

/// An identity provider that keeps the contract, except for one flaw it may be given.
final class ToyDirectory: IdentityProvider, IdentityAdministration {
  typealias Content = ToyDirectoryDisk.Content
  struct State {
    var content: Content
    var isClosed = false
    var calls = 0
    var lastResult: Principal?
  }
  let identity: ProviderIdentity
  let state: Mutex<State>
  let time: any TimeSource
  let signingKey: [UInt8]
  private let disk: ToyDirectoryDisk
  private let flaw: IdentityFlaw?
  private let broadcaster = EventBroadcaster<IdentityEvent>()
  var administration: (any IdentityAdministration)? { self }

  init(disk: ToyDirectoryDisk, flaw: IdentityFlaw?, environment: RuntimeEnvironment) {
    self.disk = disk
    self.flaw = flaw
    time = environment.time
    identity = ProviderIdentity(kind: "toy", instance: flaw == .emptyIdentity ? "" : disk.instance)
    signingKey = flaw == .sharedSigningKey ? [1] : Array(disk.instance.utf8)
    state = Mutex(State(content: flaw == .forgetsOnReopen ? Content() : disk.content.withLock { $0 }))
  }

  func has(_ flaw: IdentityFlaw) -> Bool { self.flaw == flaw }

  // MARK: Principals

  func name(_ id: PrincipalID) -> String {
    let name = has(.caseMatters) ? id.subject.spelling : id.subject.folded
    return has(.ignoresTenant) ? name : "\(id.tenant.folded)/\(name)"
  }

  private func change<Value>(revoking: Bool = false, _ body: (inout Content) -> Value) throws(KeyCustodyError) -> Value
  {
    try checkOpen()
    return state.withLock { state in
      let value = body(&state.content)
      if !(revoking && has(.revivesOnReopen)) { disk.content.withLock { $0 = state.content } }
      return value
    }
  }

  private func find(_ id: PrincipalID) throws(KeyCustodyError) -> ToyDirectoryDisk.Entry {
    try checkOpen()
    if let entry = state.withLock({ $0.content.entries[name(id)] }) { return entry }
    guard has(.issuesToAnyone) else { throw KeyCustodyError(.notFound, "principal-unknown", "There is no '\(id)'.") }
    return ToyDirectoryDisk.Entry(
      record: PrincipalRecord(id: id, kind: .user, resource: nil, isEnabled: true), generation: 0)
  }

  func create(_ id: PrincipalID, kind: Principal.Kind) async throws(KeyCustodyError) {
    try await create(PrincipalRecord(id: id, kind: has(.forgetsKind) ? .user : kind, resource: nil, isEnabled: true))
  }

  private func create(_ record: PrincipalRecord) async throws(KeyCustodyError) {
    let taken = KeyCustodyError(.invalidInput, .alreadyExists, "'\(record.id)' exists.")
    var mayReplace = has(.overwritesPrincipals) || has(.twoManagedIdentities)
    if has(.racyCreate) {
      try checkOpen()
      if state.withLock({ $0.content.entries[name(record.id)] }) != nil { throw taken }
      state.withLock { $0.calls += 1 }
      await yieldUntil { self.state.withLock { $0.calls >= 8 } }
      mayReplace = true
    }
    let isMade = try change { content in
      guard mayReplace || content.entries[name(record.id)] == nil else { return false }
      if !has(.keepsCredentials) { content.generation += 1 }
      content.entries[name(record.id)] = ToyDirectoryDisk.Entry(record: record, generation: content.generation)
      return true
    }
    if !isMade { throw taken }
  }

  func lookup(_ id: PrincipalID) async throws(KeyCustodyError) -> PrincipalRecord? {
    try checkOpen()
    let found = state.withLock { $0.content.entries[name(id)]?.record }
    return has(.inventsPrincipals)
      ? found ?? PrincipalRecord(id: id, kind: .user, resource: nil, isEnabled: true) : found
  }

  func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws(KeyCustodyError) {
    _ = try find(id)
    if has(.ignoresSwitch) { return }
    try change(revoking: !isEnabled) { $0.entries[name(id)]?.record.isEnabled = isEnabled }
    send(isEnabled ? .enabled(id) : .disabled(id))
  }

  func delete(_ id: PrincipalID) async throws(KeyCustodyError) {
    let removed = try change(revoking: true) { content -> ToyDirectoryDisk.Entry? in
      if has(.keepsManagedIdentities), content.entries[name(id)]?.record.kind == .managedIdentity { return nil }
      return content.entries.removeValue(forKey: name(id))
    }
    if removed == nil, has(.secondDeleteFails) {
      throw KeyCustodyError(.notFound, "principal-unknown", "There is none.")
    }
    if removed != nil { send(.deleted(id)) }
  }

  func createManagedIdentity(for resource: ResourceID, tenant: TenantID) async throws(KeyCustodyError) -> PrincipalID {
    let tenant = has(.managedInFirstTenant) ? try TenantID("first") : tenant
    let id = PrincipalID(tenant: tenant, subject: try SubjectID("mi-\(resource)"))
    try await create(
      PrincipalRecord(
        id: id, kind: .managedIdentity, resource: has(.forgetsResource) ? nil : resource, isEnabled: true))
    return id
  }

  // MARK: Credentials

  func issueClientSecret(for id: PrincipalID, expires: Timestamp?) async throws(KeyCustodyError) -> String {
    try issue(id, "cs-", expires: expires, slot: nil)
  }

  func regenerateAPIKey(_ slot: APIKeySlot, for id: PrincipalID) async throws(KeyCustodyError) -> String {
    try issue(id, "ak-", expires: nil, slot: slot)
  }

  private func issue(
    _ id: PrincipalID, _ prefix: String, expires: Timestamp?, slot: APIKeySlot?
  ) throws(KeyCustodyError) -> String {
    let entry = try find(id)
    if entry.record.kind == .managedIdentity, !has(.managedSecrets) {
      throw KeyCustodyError(.invalidInput, "managed-identity", "A managed identity has no secret of its own.")
    }
    let text = prefix + (try SystemRandom().bytes(has(.shortSecrets) ? 8 : 32)).base64URL
    try change(revoking: true) { content in
      content.secrets = content.secrets.filter { _, secret in
        guard let slot, secret.owner == id, let other = secret.slot, !has(.keepsOldKeys) else { return true }
        return other != slot && !has(.oneKeyOnly)
      }
    }
    try change(revoking: slot != nil && has(.revivesOnReopen) && revoked(id)) { content in
      content.secrets[text] = ToyDirectoryDisk.Secret(
        owner: id, generation: entry.generation, expires: expires, slot: slot)
    }
    return text
  }

  /// Whether a key of this principal was replaced before: what a directory that forgets would forget.
  private func revoked(_ id: PrincipalID) -> Bool {
    disk.content.withLock { content in content.secrets.values.contains { $0.owner == id && $0.slot != nil } }
  }

  func issueToken(for id: PrincipalID, audience: String, lifetime: Duration) async throws(KeyCustodyError) -> String {
    let entry = try find(id)
    guard entry.record.isEnabled || has(.issuesWhenOff) else {
      throw KeyCustodyError(.disabled, "principal-disabled", "'\(id)' is switched off.")
    }
    guard has(.anyLifetime) || (lifetime >= .seconds(1) && lifetime <= .seconds(86_400)) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A token lives 1 second to 24 hours.")
    }
    let now = time.now()
    return ToyToken(
      owner: id, generation: entry.generation, audience: audience, issued: now, expires: now + lifetime
    ).signed(signingKey, partsAlone: has(.signsPartsAlone))
  }

  // MARK: The rest

  func events() -> AsyncStream<IdentityEvent> { broadcaster.stream() }

  private func send(_ event: IdentityEvent) {
    if !has(.silent) { broadcaster.send(event) }
  }

  func close() async {
    state.withLock { $0.isClosed = true }
    if !has(.leavesStreamsOpen) { broadcaster.finish() }
  }

  func checkOpen() throws(KeyCustodyError) {
    guard state.withLock({ $0.isClosed }), !has(.worksClosed) else { return }
    throw KeyCustodyError(.unavailable, .closed, "The directory was closed.")
  }
}

extension KeyCustodyError {
  init(_ code: Code, _ reason: String, _ message: String) { self.init(code, Reason(reason), message) }
}
