import KeyCustody
import KeyCustodyVault

/// Keys by their addresses, wherever they are: in a vault of this deployment, or elsewhere.
extension KeyCustody {
  /// Where a key is that is in no vault of this deployment; `nil` for one that is.
  ///
  /// An address of this deployment's own domain is never somebody else's. Of several places that it may be in, one for
  /// the tenant alone counts, then one for all; then one of another tenant, whose use is refused.
  func elsewhere(_ key: KeyURI, for tenant: TenantID) -> CustomerKeys? {
    guard !customerKeys.isEmpty, !key.authority.hasSuffix(".\(vaults.domain)") else { return nil }
    let places = customerKeys.filter { $0.source.covers(key) }
    return places.first { $0.tenant == tenant } ?? places.first { $0.tenant == nil } ?? places.first
  }

  /// What its owner lets the holder know of a key: of its newest version, unless the address names one.
  func customerKey(
    _ uri: KeyURI, as holder: PrincipalID, context: CallContext
  ) async throws(KeyCustodyError) -> CustomerKey {
    let caller = try await principal(holder)
    if let place = elsewhere(uri, for: holder.tenant) {
      return try await describe(uri, in: place, as: caller, context: context)
    }
    let key = try await vaults.key(uri, as: caller, context: context)
    guard let version = uri.version.map({ wanted in key.versions.first { $0.version == wanted } }) ?? key.newest else {
      throw KeyCustodyError(
        .notFound, .keyVersionUnknown, "There is no key '\(uri)'.", remedy: "Check the version in the key's address.")
    }
    let type = key.type(of: version)
    let offered = try await vaults.capabilities(of: try uri.vault, protection: version.protection)
    var found = CustomerKey(
      uri: uri.with(version: version.version), type: type, wraps: key.role(of: version).wraps,
      algorithms: offered.preferredWrapAlgorithm(for: type).map { [$0] } ?? [])
    (found.isEnabled, found.notBefore, found.expires) = (version.isEnabled, version.notBefore, version.expires)
    return found
  }

  func wrap(
    _ secret: borrowing SecretBytes, with key: KeyURI, algorithm: WrapAlgorithm, as holder: PrincipalID,
    context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let caller = try await principal(holder)
    guard let place = elsewhere(key, for: holder.tenant) else {
      return try await vaults.wrap(secret, with: key, algorithm: algorithm, as: caller, context: context).bytes
    }
    let copy = secret.copy()
    return try await vaults.useElsewhere(
      .wrapKey, of: key, in: place.source.identity, as: caller, context: context
    ) { () throws(KeyCustodyError) in
      try await place.source.wrap(
        copy, with: key, algorithm: algorithm, for: try tenant(of: holder, in: place), context: context)
    }
  }

  /// Unwraps as the holder, if the key may be used now; a customer's key is not after its validity (SEMANTICS E8).
  func unwrap(
    _ wrapped: [UInt8], under kek: KEK, algorithm: WrapAlgorithm, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let caller = try await principal(kek.holder)
    guard let place = elsewhere(kek.uri, for: kek.holder.tenant) else {
      return try await vaults.unwrap(
        wrapped, with: kek.uri, algorithm: algorithm, validity: kek.isCustomerManaged ? .strict : .wire, as: caller,
        context: context)
    }
    let key = try await describe(kek.uri, in: place, as: caller, context: context)
    return try await vaults.useElsewhere(
      .unwrapKey, of: kek.uri, in: place.source.identity, as: caller, context: context
    ) { () throws(KeyCustodyError) in
      // On the wire a key still unwraps when its validity is over.
      try requireUsable(key)
      guard key.wraps else {
        throw KeyCustodyError(
          .denied, .keyOperationForbidden, "The key '\(key.uri)' may not be used for wrapping and unwrapping any more.",
          remedy: "Its owner can allow these operations again.")
      }
      return try await place.source.unwrap(
        wrapped, with: kek.uri, algorithm: algorithm, for: try tenant(of: kek.holder, in: place), context: context)
    }
  }

  private func describe(
    _ key: KeyURI, in place: CustomerKeys, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> CustomerKey {
    try await vaults.useElsewhere(.get, of: key, in: place.source.identity, as: caller, context: context) {
      () throws(KeyCustodyError) in
      try await place.source.describe(key, for: try tenant(of: caller.id, in: place), context: context)
    }
  }

  /// Refuses a key version that is switched off, or outside its validity.
  func requireUsable(_ key: CustomerKey) throws(KeyCustodyError) {
    guard key.isEnabled else {
      throw KeyCustodyError(
        .disabled, .keyDisabled, "The key version '\(key.uri)' is disabled.", remedy: "The key's owner can enable it.")
    }
    guard key.isValid(at: environment.time.now()) else {
      throw KeyCustodyError(
        .disabled, .keyOutsideValidity, "The key version '\(key.uri)' is not yet, or no longer, valid.",
        remedy: "The key's owner can change its dates; or name another version.")
    }
  }

  /// The tenant that a holder asks for, where its keys may be asked for there.
  private func tenant(of holder: PrincipalID, in place: CustomerKeys) throws(KeyCustodyError) -> TenantID {
    guard place.tenant == nil || place.tenant == holder.tenant else {
      throw KeyCustodyError(
        .denied, .otherTenant, "Keys in '\(place.source.identity)' are not for the tenant '\(holder.tenant)'.",
        remedy: "Use a vault of that tenant.")
    }
    return holder.tenant
  }
}
