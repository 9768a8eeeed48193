public import KeyCustody

/// Something that a rotation policy calls for.
public struct DueRotation: Sendable, Hashable {
  /// The key, with its newest version.
  public var key: KeyURI
  /// What is to happen.
  public var action: RotationPolicy.Action
  /// Since when.
  public var since: Timestamp
}

/// What came of the rotation policies.
public struct RotationRound: Sendable {
  /// The versions made.
  public var rotated: [KeyURI] = []
  /// The versions of which notice is given, each once.
  public var notices: [DueRotation] = []
  /// What could not be done; the next round tries again.
  public var failures: [(key: KeyURI, error: KeyCustodyError)] = []
}

extension Vaults {
  /// A key's rotation policy; the default where nobody has set one.
  public func rotationPolicy(
    of uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RotationPolicy {
    try await perform(.getRotationPolicy, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let standard = try RotationPolicy.standard
      return (try await self.living(uri).rotationPolicy ?? standard, uri)
    }
  }

  /// Sets a key's rotation policy; an empty one is a policy too.
  ///
  /// - Throws: `denied`, `notFound`; `invalidInput` (`bad-rotation-policy`).
  @discardableResult
  public func setRotationPolicy(
    _ policy: RotationPolicy, of uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RotationPolicy {
    try await change(.setRotationPolicy, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      try policy.validate()
      _ = try await self.living(uri)
      let now = self.environment.time.now()
      var set = policy
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
        set.created = record.rotationPolicy?.created ?? now
        set.updated = now
        record.rotationPolicy = set
      }
      guard updated != nil else { throw VaultErrors.keyUnknown(uri) }
      return (set, uri)
    }
  }

  /// What the rotation policies of every vault call for at a moment, whether notice was given already or not.
  public func dueRotations(_ now: Timestamp) async throws(KeyCustodyError) -> [DueRotation] {
    var due: [DueRotation] = []
    let standard = try RotationPolicy.standard
    for vault in try await definitions() {
      for (_, record) in try await keys.all(prefix: "vaults/\(vault.name.folded)/keys/") where record.deletion == nil {
        guard let newest = record.newest else { continue }
        let policy = record.rotationPolicy ?? standard
        for action in [RotationPolicy.Action.rotate, .notify] {
          guard let since = policy.due(action, for: newest), since <= now else { continue }
          due.append(
            DueRotation(key: uri(vault.name, record.name, version: newest.version), action: action, since: since))
        }
      }
    }
    return due
  }

  /// Does what the rotation policies call for now; for a timer of the host's, every few minutes.
  ///
  /// It may run in several processes at once, be cut off, and be repeated at will: a version is rotated once, and its
  /// notice given once.
  public func runRotations() async throws(KeyCustodyError) -> RotationRound {
    await observed.advance()
    var round = RotationRound()
    for due in try await dueRotations(environment.time.now()) {
      do throws(KeyCustodyError) {
        switch due.action {
        case .rotate: if let made = try await rotate(due) { round.rotated.append(made) }
        case .notify: if try await notice(due) { round.notices.append(due) }
        }
      } catch {
        round.failures.append((due.key, error))
      }
    }
    for vault in try await definitions() { try await requests.sweep(vault.name) }
    return round
  }

  private func rotate(_ due: DueRotation) async throws(KeyCustodyError) -> KeyURI? {
    guard let old = due.key.version else { return nil }
    // Named by the version that it replaces: whoever else is at it makes the same.
    let context = CallContext(
      purpose: .administration, requestID: "rotation-policy", clientRequestID: "rotate-\(old)")
    let key = due.key.with(version: nil)
    let before = try await living(key).newest?.version
    guard before == old else { return nil }
    let made = try await change(.key(.rotate), on: key, by: .vault(rule: "rotation-policy"), context: context) {
      (admission) throws(KeyCustodyError) in try await self.rotate(key, admission, context)
    }
    return made.uri
  }

  private func notice(_ due: DueRotation) async throws(KeyCustodyError) -> Bool {
    let now = environment.time.now()
    var isFirst = false
    _ = try await keys.update(try Self.path(due.key)) { record in
      isFirst = false
      guard let index = record.allVersions.firstIndex(where: { $0.version == due.key.version }),
        record.allVersions[index].noticed == nil
      else { return }
      record.allVersions[index].noticed = now
      isFirst = true
    }
    return isFirst
  }
}
