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

  /// Enters the first version of a new key, and answers which is to be made.
  ///
  /// Of a creation that was cut off before, the version meant then is gone on with where it fits; otherwise what it may
  /// have made is destroyed first.
  func enter(
    _ planned: KeyVersionRecord, of key: KeyRecord, at uri: KeyURI, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> KeyVersionRecord {
    let path = try Self.path(uri)
    var fresh = key
    fresh.allVersions = [planned]
    if try await keys.create(path, fresh) { return planned }
    guard let found = try await keys.read(path) else { throw VaultErrors.changedMeanwhile(uri) }
    if let deletion = found.deletion {
      throw VaultErrors.recoverable(uri.description, until: deletion.scheduledPurge)
    }
    guard found.allVersions.allSatisfy({ $0.stage != .ready }) else { throw VaultErrors.exists(uri) }
    if planned.stage == .making, found.type == key.type, found.role == key.role,
      found.isBackupable == key.isBackupable,
      let version = found.allVersions.last(where: { $0.stage == .making })
    {
      return version
    }
    for version in found.allVersions { try await destroy(version, admission, context) }
    let entered = try await keys.update(path) { (record) throws(KeyCustodyError) in
      guard record == found else { throw VaultErrors.exists(uri) }
      record = fresh
    }
    guard entered != nil else { throw VaultErrors.changedMeanwhile(uri) }
    return planned
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
    let request = GenerateKeyRequest(
      version: planned.version, type: key.type(of: planned), role: key.role(of: planned), label: uri.name.spelling,
      backupable: key.isBackupable)
    let description: KeyDescription
    do throws(KeyCustodyError) {
      description = try await make(request, material, by: try admission.provider(of: planned), admission, context)
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
