import KeyCustody

/// How versions come to be and go.
///
/// What is meant is recorded before the provider is asked, and made ready by one change of the record. So whatever is
/// cut off leaves nothing in the provider that no record names, and of several callers one has made the version.
extension Vaults {
  /// Where the material of a version comes from.
  enum Material {
    case generated
    case imported(SharedSecret)
  }

  /// A version that is meant to be made.
  func plan(
    _ stage: KeyVersionRecord.Stage, _ attributes: KeyAttributes, _ admission: Admission
  ) throws(KeyCustodyError) -> KeyVersionRecord {
    let now = environment.time.now()
    let fresh = try KeyVersionID(random: environment.random)
    var planned = KeyVersionRecord(
      version: admission.version ?? fresh, isEnabled: true, created: now,
      updated: now, publicKey: "", stage: stage)
    planned.isNamed = admission.version == nil ? nil : true
    planned.set(attributes, at: now)
    return planned
  }

  /// The version that an earlier attempt at the same request made.
  func made(_ uri: KeyURI, _ admission: Admission) async throws(KeyCustodyError) -> (KeyBundle, KeyURI)? {
    guard let wanted = admission.version, let record = try await keys.read(try Self.path(uri)),
      record.deletion == nil, let version = record.versions.first(where: { $0.version == wanted })
    else { return nil }
    let bundle = bundle(record, version, in: admission.vault)
    return (bundle, bundle.uri)
  }

  /// Enters a version that is to be made, and answers it with its key: the first one of a new key, or one more.
  ///
  /// One more stands beside what others may be making. Where a taken name is refused, a creation goes on with a version
  /// that was cut off before, if that is its own or nobody's, and any other makes way.
  func enter(
    _ planned: KeyVersionRecord, of key: KeyRecord, at uri: KeyURI, _ onExisting: OnExisting, _ backups: Backups,
    _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> (KeyVersionRecord, KeyRecord) {
    let path = try Self.path(uri)
    var fresh = key
    fresh.allVersions = [planned]
    for attempt in 0..<Self.entries {
      if onExisting == .addVersion, let added = try await add(planned, to: uri, like: key, backups) {
        try await confirm([planned], at: uri, in: admission.vault.name)
        return added
      }
      if try await keys.create(path, fresh) {
        try await confirm([planned], at: uri, in: admission.vault.name)
        return (planned, fresh)
      }
      guard let found = try await keys.readRevised(path) else { continue }
      if let deletion = found.value.deletion {
        throw VaultErrors.recoverable(uri.description, until: deletion.scheduledPurge)
      }
      if onExisting == .refuse {
        guard found.value.allVersions.allSatisfy({ $0.stage != .ready }) else { throw VaultErrors.exists(uri) }
        if let version = Self.resumable(planned, of: key, in: found.value, admission) {
          try await confirm([], at: uri, in: admission.vault.name)
          return (version, fresh)
        }
        // Somebody else is at it too: not what that one makes is destroyed next.
        guard attempt == 0 else { break }
      } else if Self.takesAnother(found.value, backups) {
        continue
      }
      if try await replace(found, by: fresh, at: uri, admission, context) {
        try await confirm([planned], at: uri, in: admission.vault.name)
        return (planned, fresh)
      }
    }
    throw VaultErrors.changedMeanwhile(uri)
  }

  /// How often others may be quicker at entering a version.
  private static var entries: Int { 8 }

  /// What is planned, as the version that an attempt before it entered; `nil` when there is none to go on with.
  ///
  /// Nobody goes on with a version of somebody else's named request: that one may still make it, with its attributes.
  private static func resumable(
    _ planned: KeyVersionRecord, of key: KeyRecord, in found: KeyRecord, _ admission: Admission
  ) -> KeyVersionRecord? {
    guard planned.stage == .making, found.type == key.type, found.role == key.role,
      found.isBackupable == key.isBackupable
    else { return nil }
    let version = found.allVersions.last { version in
      let isFree = version.version == planned.version || admission.version == nil && version.isNamed != true
      let isAlike =
        found.type(of: version) == key.type(of: planned) && found.role(of: version) == key.role(of: planned)
      return isFree && isAlike && version.stage == .making && version.protection == planned.protection
    }
    guard let version else { return nil }
    var resumed = planned
    resumed.version = version.version
    return resumed
  }

  /// Whether another version may stand beside what a key has: versions that are made, or that somebody may be making.
  private static func takesAnother(_ record: KeyRecord, _ backups: Backups) -> Bool {
    let stages = Set(record.allVersions.map(\.stage))
    if stages.contains(.ready) { return true }
    return (stages.contains(.making) || stages.contains(.importing)) && (record.isBackupable || backups != .required)
  }

  /// Enters another version of a key that is there.
  ///
  /// - Returns: the version as it is entered, and its key; `nil` when there is no such key, or nobody is making it.
  private func add(
    _ planned: KeyVersionRecord, to uri: KeyURI, like key: KeyRecord, _ backups: Backups
  ) async throws(KeyCustodyError) -> (KeyVersionRecord, KeyRecord)? {
    var entered: KeyVersionRecord?
    let written = try await keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
      entered = nil
      guard record.deletion == nil, Self.takesAnother(record, backups) else { return }
      guard record.isBackupable || backups != .required else { throw VaultErrors.notBackupable(uri) }
      if var found = record.allVersions.first(where: { $0.version == planned.version }) {
        guard found.stage != .destroying else { throw VaultErrors.changedMeanwhile(uri) }
        // Another attempt may have made it ready by now, which is not this one's to take back.
        found.stage = planned.stage
        entered = found
      } else {
        let entry = record.entry(planned, key.firstType, key.firstRole)
        record.allVersions.append(entry)
        try RecordRoom.checkVersions(record, of: uri.description)
        entered = entry
      }
    }
    guard let written, let entered else { return nil }
    return (entered, written)
  }

  /// Puts a key's record in the place of one of which nothing was ever ready, and destroys what that one named.
  ///
  /// Marked first, as by a purge: whoever is still making one of them finds that it is not wanted, and says so.
  ///
  /// - Returns: `false` when somebody else changed the record meanwhile.
  func replace(
    _ found: RecordView<KeyRecord>.Revised, by fresh: KeyRecord, at uri: KeyURI, _ admission: Admission,
    _ context: CallContext
  ) async throws(KeyCustodyError) -> Bool {
    let path = try Self.path(uri)
    let wanted = Set(fresh.allVersions.map(\.version))
    let isBeingDestroyed = found.value.allVersions.contains { $0.stage == .destroying && wanted.contains($0.version) }
    var doomed = found.value
    for index in doomed.allVersions.indices { doomed.allVersions[index].stage = .destroying }
    guard let marked = try await keys.replace(path, expecting: found.revision, with: doomed) else { return false }
    for version in doomed.allVersions { try await destroy(version, admission, context) }
    var next = fresh
    if isBeingDestroyed { next.allVersions = [] }
    guard try await keys.replace(path, expecting: marked.revision, with: next) != nil else { return false }
    // Whoever marked it first may still be at it: what is entered now would be destroyed too.
    guard !isBeingDestroyed else { throw VaultErrors.changedMeanwhile(uri) }
    return true
  }

  /// Makes a version that was entered, and makes it ready.
  ///
  /// - Throws: `invalidInput` (`already-exists`) when somebody else made it ready; `notFound` when the key was purged
  ///   meanwhile, and then what was made is destroyed.
  func make(
    _ planned: KeyVersionRecord, of key: KeyRecord, at uri: KeyURI, _ material: Material, _ admission: Admission,
    _ context: CallContext
  ) async throws(KeyCustodyError) -> (KeyBundle, KeyURI) {
    let path = try Self.path(uri)
    let description: KeyDescription
    do throws(KeyCustodyError) {
      let provider = try admission.provider(of: planned)
      // A version in another provider than those before may be one that can't be backed up.
      let request = GenerateKeyRequest(
        version: planned.version, type: key.type(of: planned), role: key.role(of: planned), label: uri.name.spelling,
        backupable: key.isBackupable && provider.capabilities.offers(.backup))
      description = try await make(request, material, by: provider, admission, context)
    } catch {
      // After a lost answer the key may be there: the record keeps naming it.
      if error.code != .timeout && error.code != .fault {
        _ = try? await keys.update(path) { record in
          record.allVersions.removeAll { $0.version == planned.version && $0.stage == planned.stage }
        }
      }
      // Made by somebody else, and purged before it was looked at.
      throw error.code == .notFound ? VaultErrors.changedMeanwhile(uri) : error
    }
    var isWanted = false
    let written = try await keys.update(path) { (record) throws(KeyCustodyError) in
      isWanted = false
      guard let index = record.allVersions.firstIndex(where: { $0.version == planned.version }),
        record.allVersions[index].stage != .destroying
      else { return }
      isWanted = true
      guard record.allVersions[index].stage == planned.stage else {
        // Made ready by another attempt at the same request, or by somebody who made the same key.
        if admission.version == planned.version { return }
        throw VaultErrors.exists(uri)
      }
      record.allVersions.remove(at: index)
      var ready = planned
      ready.stage = .ready
      ready.isNamed = nil
      ready.publicKey = (description.publicKey ?? []).base64URL
      record.allVersions.append(ready)
    }
    guard let written, isWanted else {
      try await destroy(planned, admission, context)
      throw written == nil ? VaultErrors.keyUnknown(uri) : VaultErrors.changedMeanwhile(uri)
    }
    tell(uri)
    let ready = written.allVersions.first { $0.version == planned.version } ?? planned
    let bundle = bundle(written, ready, in: admission.vault)
    return (bundle, bundle.uri)
  }

  private func make(
    _ request: GenerateKeyRequest, _ material: Material, by provider: any KeyProvider, _ admission: Admission,
    _ context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    switch material {
    case .imported(let secret):
      do throws(KeyCustodyError) {
        return try await provider.importKey(secret.bytes, as: request, context: context)
      } catch {
        guard error.reason == .alreadyExists, admission.version == request.version else { throw error }
        return try await provider.describe(request.version, context: context)
      }
    case .generated:
      do throws(KeyCustodyError) {
        return try await provider.generate(request, context: context)
      } catch {
        // Made by an attempt whose answer was lost, or by somebody who makes the same key at this moment.
        guard error.reason == .alreadyExists else { throw error }
        return try await provider.describe(request.version, context: context)
      }
    }
  }

  /// Destroys a version in the provider; one that is not there is no error.
  func destroy(
    _ version: KeyVersionRecord, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) {
    do throws(KeyCustodyError) {
      try await admission.provider(of: version).destroy(version.version, context: context)
    } catch {
      guard error.code == .notFound else { throw error }
    }
  }

  func tell(_ uri: KeyURI) {
    if let vault = try? uri.vault { tell(.key(vault, uri.name)) }
  }
}
