import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

/// A root key that is to be wrapped.
struct NewRootKey: Sendable {
  let material: SharedSecret
  let id: RootKeyID
  /// As it stands in records.
  let commitment: String
  let layer: Layer
  let group: RootKeyGroup
  let epoch: Int

  /// One that was never wrapped before.
  init(
    _ layer: Layer, _ group: RootKeyGroup, epoch: Int, random: any RandomSource
  ) throws(KeyCustodyError) {
    material = SharedSecret(try RootKey.generateMaterial(random: random))
    let commitment = try RootKey.commitment(of: material.bytes)
    id = RootKeyID(commitment: commitment)
    self.commitment = commitment.hexadecimal
    self.layer = layer
    self.group = group
    self.epoch = epoch
  }

  /// One that was: `material` is what the record commits to.
  init(_ material: SharedSecret, of record: RootKeyRecord) {
    self.material = material
    id = record.id
    commitment = record.commitment
    layer = record.layer
    group = record.group
    epoch = record.epoch
  }
}

/// Root keys of a resource, several at a time.
extension KeyCustody {
  /// Wraps root keys under a KEK, then unwraps them again and compares: what is recorded is known to open.
  func wrap(
    _ keys: [NewRootKey], of resource: ResourceID, under kek: KEK
  ) async throws(KeyCustodyError) -> [RootKeyRecord] {
    guard let algorithm = kek.algorithm else {
      throw KeyCustodyError(
        .unsupported, .notOffered, "What holds '\(kek.uri)' can't unwrap with a key of its type.",
        remedy: "Use a key of a type that 'keycustody doctor' lists under 'unwrap'.")
    }
    let context = { [self] in self.context(of: resource, holder: kek.holder) }
    var unfinished: [UnfinishedEnvelope] = []
    for key in keys {
      let facts = KeyEnvelopeFacts(
        kid: kek.uri.description, algorithm: algorithm, resource: resource, layer: key.layer, group: key.group,
        epoch: key.epoch)
      unfinished.append(try UnfinishedEnvelope(key.material.bytes, facts: facts, random: environment.random))
    }
    let contentKeys = unfinished.map(\.contentKey)
    let proven = try await wrapAndUnwrap(contentKeys, under: kek, algorithm: algorithm, context)
    var records: [RootKeyRecord] = []
    for (key, (envelope, proven)) in zip(keys, zip(unfinished, proven)) {
      try envelope.prove(key.material.bytes, opensWith: proven.unwrapped.bytes)
      records.append(
        RootKeyRecord(
          id: key.id, commitment: key.commitment, layer: key.layer, group: key.group, epoch: key.epoch, kek: kek.uri,
          algorithm: algorithm, holder: kek.holder, isCustomerManaged: kek.isCustomerManaged,
          envelope: envelope.finished(encryptedKey: proven.wrapped), isPrimary: true, created: environment.time.now()))
    }
    return records
  }

  private func wrapAndUnwrap(
    _ keys: [SharedSecret], under kek: KEK, algorithm: WrapAlgorithm, _ context: () -> CallContext
  ) async throws(KeyCustodyError) -> [ProvenWrapping] {
    if let allowed = kek.allowed {
      return try await allowed.wrapAndUnwrapAll(keys, algorithm: algorithm, context: context)
    }
    var proven: [ProvenWrapping] = []
    for key in keys {
      let wrapped = try await wrap(key.bytes, with: kek.uri, algorithm: algorithm, as: kek.holder, context: context())
      let unwrapped = try await unwrap(wrapped, under: kek, algorithm: algorithm, context: context())
      proven.append(ProvenWrapping(wrapped: wrapped, unwrapped: SharedSecret(unwrapped)))
    }
    return proven
  }

  /// What root keys under one KEK unwrap to; each is checked to be the one that was recorded.
  func material(
    of records: [RootKeyRecord], _ resource: ResourceID, under kek: KEK
  ) async throws(KeyCustodyError) -> [SharedSecret] {
    guard let first = records.first else { return [] }
    let context = { [self] in self.context(of: resource, holder: kek.holder) }
    var envelopes: [CheckedEnvelope] = []
    for record in records { envelopes.append(try record.envelope.checked(against: record.facts(resource))) }
    var contentKeys: [SharedSecret] = []
    if let allowed = kek.allowed, records.allSatisfy({ $0.algorithm == first.algorithm }) {
      contentKeys = try await allowed.unwrapAll(
        envelopes.map(\.encryptedKey), algorithm: first.algorithm, context: context)
    } else {
      for (record, envelope) in zip(records, envelopes) {
        contentKeys.append(
          SharedSecret(
            try await unwrap(envelope.encryptedKey, under: kek, algorithm: record.algorithm, context: context())))
      }
    }
    var material: [SharedSecret] = []
    for (record, (envelope, contentKey)) in zip(records, zip(envelopes, contentKeys)) {
      let secret = try envelope.open(with: contentKey.bytes)
      try record.require(try RootKey.commitment(of: secret), resource)
      material.append(SharedSecret(secret))
    }
    return material
  }
}

extension RootKeyRecord {
  /// Refuses a root key that is not the one that was recorded.
  func require(_ found: [UInt8], _ resource: ResourceID) throws(KeyCustodyError) {
    guard found.hexadecimal == commitment else {
      throw KeyCustodyError(
        .integrityFailure, .commitmentMismatch,
        "The root key of '\(resource)' that '\(kek)' unwrapped is not the one that was recorded.",
        remedy: "Restore the resource's record; somebody replaced the wrapped key.")
    }
  }
}
