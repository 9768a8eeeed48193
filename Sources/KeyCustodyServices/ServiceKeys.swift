public import KeyCustody
public import KeyCustodyEnvelope
import KeyCustodyVault

/// The service's own KEKs: in a vault of its own that only its own principal can use (SEMANTICS E12).
enum ServiceKeys {
  static let vaultName = "key-custody-service"

  /// One KEK for each layer, so that the layers stay independent while both are the service's.
  static func keyName(_ layer: Layer) throws(KeyCustodyError) -> KeyName { try KeyName("\(layer.rawValue)-layer") }
}

extension KeyCustody {
  /// Makes the service's principal, vault, rule and KEKs where they are missing.
  func prepareServiceKeys(_ settings: HostSettings) async throws(KeyCustodyError) {
    if try await identities.lookup(servicePrincipal) == nil {
      do throws(KeyCustodyError) { try await identities.create(servicePrincipal, kind: .servicePrincipal) } catch {
        guard error.reason == .alreadyExists else { throw error }
      }
    }
    let vault = try VaultName(ServiceKeys.vaultName)
    if try await vaults.definition(vault) == nil {
      let definition = VaultDefinition(
        name: vault, tenant: settings.tenant, region: settings.region, keyProvider: settings.keyProvider.name,
        purgeProtection: true)
      do throws(KeyCustodyError) { try await vaults.create(definition) } catch {
        guard error.reason == .alreadyExists else { throw error }
      }
    }
    let rule = AccessRule(
      name: "service", principal: servicePrincipal, keys: [.get, .list, .create, .rotate, .wrapKey, .unwrapKey])
    if try await !vaults.policy(of: vault).rules.contains(rule) { try await vaults.setRule(rule, in: vault) }
    let caller = try await principal(servicePrincipal)
    for layer in Layer.allCases {
      let uri = try serviceKey(layer)
      let context = CallContext(purpose: .administration, principal: servicePrincipal)
      do throws(KeyCustodyError) { _ = try await vaults.key(uri, as: caller, context: context) } catch {
        guard error.code == .notFound else { throw error }
        let type = try await serviceKeyType(settings, vault)
        do throws(KeyCustodyError) {
          _ = try await vaults.createKey(uri, type: type, role: .wrapping, as: caller, context: context)
        } catch {
          // Another opening was quicker.
          guard error.reason == .alreadyExists else { throw error }
        }
      }
    }
  }

  /// Wraps and unwraps for real with every version of the service's own keys: what all data needs.
  ///
  /// - Throws: what the first that fails throws.
  public func probeServiceKeys() async throws(KeyCustodyError) {
    let caller = try await principal(servicePrincipal)
    let vault = try VaultName(ServiceKeys.vaultName)
    let context = CallContext(purpose: .probe, principal: servicePrincipal)
    guard let definition = try await vaults.definition(vault),
      let provider = keyProviders[definition.keyProvider]
    else { throw KeyCustodyError(.fault, .internalFault, "The service's own vault is missing.") }
    for layer in Layer.allCases {
      let uri = try serviceKey(layer)
      for version in try await vaults.key(uri, as: caller, context: context).versions {
        try await provider.probe(version.version, context: context)
      }
    }
  }

  /// Makes a new version of the service's own KEKs, which root keys that are made from now on are wrapped under.
  ///
  /// ``ProtectedResource/rewrapServiceKeys()`` takes a resource's older root keys over to it (SEMANTICS E12).
  ///
  /// - Returns: the new versions' addresses.
  @discardableResult
  public func rotateServiceKeys() async throws(KeyCustodyError) -> [KeyURI] {
    let caller = try await principal(servicePrincipal)
    let context = CallContext(purpose: .administration, principal: servicePrincipal)
    var made: [KeyURI] = []
    for layer in Layer.allCases {
      made.append(try await vaults.rotateKey(try serviceKey(layer), as: caller, context: context).uri)
    }
    return made
  }

  /// The newest version of the service's KEK for a layer.
  func newestServiceKey(_ layer: Layer) async throws(KeyCustodyError) -> KeyURI {
    let uri = try serviceKey(layer)
    let key = try await vaults.key(
      uri, as: try await principal(servicePrincipal),
      context: CallContext(purpose: .administration, principal: servicePrincipal))
    return uri.with(version: key.newest?.version)
  }

  /// The newest version of the service's KEK for each layer.
  func newestServiceKeys() async throws(KeyCustodyError) -> [Layer: KeyURI] {
    var newest: [Layer: KeyURI] = [:]
    for layer in Layer.allCases { newest[layer] = try await newestServiceKey(layer) }
    return newest
  }

  /// The address of the service's KEK for a layer, without a version.
  func serviceKey(_ layer: Layer) throws(KeyCustodyError) -> KeyURI {
    vaults.uri(try VaultName(ServiceKeys.vaultName), try ServiceKeys.keyName(layer))
  }

  private func serviceKeyType(_ settings: HostSettings, _ vault: VaultName) async throws(KeyCustodyError) -> KeyType {
    if let type = settings.keyType { return type }
    let capabilities = try await vaults.capabilities(of: vault)
    let types: [KeyType] = [.aes(bits: 256), .rsa(bits: 3072), .rsa(bits: 2048)]
    return types.first { capabilities.offers(.generate($0)) && capabilities.preferredWrapAlgorithm(for: $0) != nil }
      ?? .aes(bits: 256)
  }

  /// A new resource's root keys of a layer, under the service's KEK.
  func newServiceRootKeys(
    _ resource: ResourceID, _ layer: Layer, _ groups: [RootKeyGroup]
  ) async throws(KeyCustodyError) -> [RootKeyRecord] {
    let kek = try await KEKs(self).wrapping(
      try serviceKey(layer), holder: servicePrincipal, isCustomerManaged: false,
      context: context(of: resource, holder: servicePrincipal))
    var new: [NewRootKey] = []
    for group in groups { new.append(try NewRootKey(layer, group, epoch: 1, random: environment.random)) }
    return try await wrap(new, of: resource, under: kek)
  }

  /// A new root key under the service's KEK of that layer.
  func newServiceRootKey(
    _ resource: ResourceID, layer: Layer, group: RootKeyGroup, epoch: Int
  ) async throws(KeyCustodyError) -> RootKeyRecord {
    try await newRootKey(
      resource, layer: layer, group: group, epoch: epoch, kek: try serviceKey(layer), holder: servicePrincipal,
      isCustomerManaged: false)
  }

  /// A new root key under a KEK (its newest version unless the address names one), proven by a real unwrap.
  func newRootKey(
    _ resource: ResourceID, layer: Layer, group: RootKeyGroup, epoch: Int, kek: KeyURI, holder: PrincipalID,
    isCustomerManaged: Bool
  ) async throws(KeyCustodyError) -> RootKeyRecord {
    let kek = try await KEKs(self).wrapping(
      kek, holder: holder, isCustomerManaged: isCustomerManaged, context: context(of: resource, holder: holder))
    let new = try NewRootKey(layer, group, epoch: epoch, random: environment.random)
    return try await wrap([new], of: resource, under: kek)[0]
  }

  /// Unwraps a root key, as the principal that holds it, and checks that it is the one that was recorded.
  func unwrap(_ record: RootKeyRecord, of resource: ResourceID) async throws(KeyCustodyError) -> RootKey {
    let context = context(of: resource, holder: record.holder)
    let material = try await record.envelope.open(expecting: record.facts(resource)) {
      (wrapped) async throws(KeyCustodyError) -> SecretBytes in
      try await unwrap(wrapped, under: KEK(of: record), algorithm: record.algorithm, context: context)
    }
    let key = try RootKey(material: material, nonces: nonces)
    try record.require(key.commitment, resource)
    return key
  }

  /// A principal, authenticated anew as every caller of a vault is (SEMANTICS I1, I3): by a token of its own, which lasts
  /// for many calls, and by what the directory says of it now.
  func principal(_ id: PrincipalID) async throws(KeyCustodyError) -> Principal {
    if let session = sessions[id, environment.time.running()] {
      do throws(KeyCustodyError) { return try await identities.authenticate(session) } catch {
        guard error.code == .credentialRejected else { throw error }
      }
    }
    do throws(KeyCustodyError) {
      let begun = environment.time.running()
      let session = try await identities.session(for: id, audience: audience, lifetime: HeldSessions.lifetime)
      sessions.keep(session, of: id, from: begun)
      return try await identities.authenticate(session)
    } catch {
      // Not every `notFound`: the key that signs tokens may be what is missing.
      guard error.reason == .principalUnknown else { throw error }
      throw KeyCustodyError(
        .denied, .identityOff, "The identity '\(id)' does not exist any more.",
        remedy: "Switch the resource's identity on again and grant it access.")
    }
  }

  /// How long a provider may take before its answer is not waited for any more.
  private static var patience: Duration { .seconds(10) }

  func context(of resource: ResourceID, holder: PrincipalID) -> CallContext {
    CallContext(
      purpose: .resource, principal: holder, onBehalfOf: servicePrincipal, resource: resource,
      deadline: environment.time.running() + Self.patience)
  }
}

/// The root keys of one resource, by lease: what sealing and opening look keys up in.
public struct ResourceKeys: RootKeySource {
  private weak var custody: KeyCustody?
  /// Held apart: nearly every look-up ends here.
  private let leases: LeaseTable
  private let resource: ResourceID

  init(custody: KeyCustody, resource: ResourceID) {
    self.custody = custody
    leases = custody.leases
    self.resource = resource
  }

  /// A root key of the resource with a living lease, asked for where there is none.
  ///
  /// - Throws: `integrityFailure` (`unknown-root-key`) when the resource has no such key in that layer; what stopped the
  ///   lease, such as `denied`, `disabled` or `unavailable`.
  public func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    if case .living(let key, let renew) = leases.find(id, of: resource, layer: layer) {
      if renew { custody?.renewInBackground(id, of: resource) }
      return key
    }
    return try await rootKey(id, layer: Optional(layer))
  }

  /// A key of this resource, and of no other, for use now.
  func rootKey(_ id: RootKeyID, layer: Layer?) async throws(KeyCustodyError) -> RootKey {
    guard let custody else {
      throw KeyCustodyError(.unavailable, .closed, "This deployment of KeyCustody was closed.")
    }
    var known = try await custody.outline(resource)
    if !known.rootKeys.contains(where: { $0.id == id }) {
      known = ResourceOutline(try await custody.record(resource))
    }
    guard let key = known.rootKeys.first(where: { $0.id == id && (layer == nil || $0.layer == layer) }) else {
      throw KeyCustody.unknownRootKey(resource)
    }
    return try await custody.lease(key, of: resource)
  }
}

extension KeyCustody {
  static func unknownRootKey(_ resource: ResourceID) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .unknownRootKey, "This was not sealed for the resource '\(resource)', or its key is gone.",
      remedy: "Open it with the resource that it was sealed for.")
  }

  /// How a root key is got: by what the store says now.
  private func source(_ id: RootKeyID, of resource: ResourceID) -> LeaseTable.Source {
    LeaseTable.Source(
      look: { () throws(KeyCustodyError) in
        let record = try await self.record(resource)
        guard let key = record.rootKeys.first(where: { $0.id == id }) else { throw Self.unknownRootKey(resource) }
        return key
      },
      unwrap: { (key) throws(KeyCustodyError) in try await self.unwrap(key, of: resource) })
  }

  /// Has leases renewed in the background, by the use of their keys.
  func renewLeases() {
    leases.whenRenewalIsDue { [weak self] id, resource in
      guard let self, case .living(_, renew: true) = leases.find(id) else { return }
      renewInBackground(id, of: resource)
    }
  }

  func renewInBackground(_ id: RootKeyID, of resource: ResourceID) {
    Task { [weak self] in
      guard let self else { return }
      _ = try? await leases.acquire(id, of: resource, isRenewal: true, from: source(id, of: resource))
    }
  }

  /// A living lease on a root key, asked for where there is none.
  func lease(_ key: ResourceOutline.Key, of resource: ResourceID) async throws(KeyCustodyError) -> RootKey {
    switch leases.find(key.id) {
    case .living(let found, let renew):
      if renew { renewInBackground(key.id, of: resource) }
      return found
    case .none:
      do throws(KeyCustodyError) {
        return try await leases.acquire(key.id, of: resource, from: source(key.id, of: resource))
      } catch {
        guard key.isCustomerManaged, [.denied, .disabled, .notFound].contains(error.code) else { throw error }
        throw KeyCustodyError(
          error.code, error.reason,
          "The resource '\(resource)' is suspended: its customer's key can't be used. \(error.message)",
          remedy: error.remedy, diagnostic: error.diagnostic)
      }
    }
  }
}
