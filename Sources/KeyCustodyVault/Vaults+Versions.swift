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
  func plan(_ stage: KeyVersionRecord.Stage) throws(KeyCustodyError) -> KeyVersionRecord {
    let now = environment.time.now()
    return KeyVersionRecord(
      version: try KeyVersionID(random: environment.random), isEnabled: true, created: now, updated: now,
      publicKey: "", stage: stage)
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
    guard let found = try await keys.read(path), found.versions.isEmpty, found.deletion == nil else {
      throw VaultErrors.exists(uri)
    }
    if planned.stage == .making, found.type == key.type, found.role == key.role,
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
  ) async throws(KeyCustodyError) -> KeyURI {
    let path = try Self.path(uri)
    let request = GenerateKeyRequest(
      version: planned.version, type: key.type, role: key.role, label: uri.name.spelling)
    let description: KeyDescription
    do throws(KeyCustodyError) {
      description = try await make(request, material, admission, context)
    } catch {
      // After a lost answer the key may be there: the record keeps naming it.
      if error.code != .timeout && error.code != .fault {
        _ = try? await keys.update(path) { record in
          record.allVersions.removeAll { $0.version == planned.version && $0.stage == planned.stage }
        }
      }
      throw error
    }
    var isWanted = false
    let updated = try await keys.update(path) { (record) throws(KeyCustodyError) in
      isWanted = false
      guard let index = record.allVersions.firstIndex(where: { $0.version == planned.version }),
        record.allVersions[index].stage != .destroying
      else { return }
      isWanted = true
      guard record.allVersions[index].stage == planned.stage else { throw VaultErrors.exists(uri) }
      var ready = record.allVersions.remove(at: index)
      ready.stage = .ready
      ready.publicKey = (description.publicKey ?? []).base64URL
      record.allVersions.append(ready)
    }
    guard updated != nil, isWanted else {
      try await destroy(planned, admission, context)
      throw updated == nil ? VaultErrors.keyUnknown(uri) : VaultErrors.changedMeanwhile(uri)
    }
    tell(uri)
    return uri.with(version: planned.version)
  }

  private func make(
    _ request: GenerateKeyRequest, _ material: Material, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    switch material {
    case .imported(let secret):
      return try await admission.provider.importKey(secret.bytes, as: request, context: context)
    case .generated:
      do throws(KeyCustodyError) {
        return try await admission.provider.generate(request, context: context)
      } catch {
        // Made by an attempt whose answer was lost, or by somebody who makes the same key at this moment.
        guard error.reason == .alreadyExists else { throw error }
        return try await admission.provider.describe(request.version, context: context)
      }
    }
  }

  /// Destroys a version in the provider; one that is not there is no error.
  func destroy(
    _ version: KeyVersionRecord, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) {
    do throws(KeyCustodyError) {
      try await admission.provider.destroy(version.version, context: context)
    } catch {
      guard error.code == .notFound else { throw error }
    }
  }

  func tell(_ uri: KeyURI) {
    if let vault = try? uri.vault { tell(.key(vault, uri.name)) }
  }
}

/// A secret that a closure needs: the one owner is this object, which the closure shares.
final class SharedSecret: Sendable {
  let bytes: SecretBytes
  init(_ secret: borrowing SecretBytes) { bytes = secret.copy() }
}
