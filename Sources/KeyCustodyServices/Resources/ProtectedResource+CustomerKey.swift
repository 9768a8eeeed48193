public import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

extension ProtectedResource {
  /// Gives the resource an identity of its own, which the customer can grant access to a vault (SEMANTICS I2).
  ///
  /// - Throws: `invalidInput` (`already-exists`) when a principal of that name is in the way.
  @discardableResult
  public func switchIdentityOn() async throws(KeyCustodyError) -> PrincipalID {
    let record = try await custody.record(id)
    let found = try await custody.managedIdentity(of: record)
    if let found, found == record.identity { return found }
    let identity: PrincipalID
    if let found {
      // Switching it on was cut off before.
      identity = found
    } else {
      identity = try await custody.identities.createManagedIdentity(for: id, tenant: record.tenant)
    }
    try await custody.change(id) { $0.identity = identity }
    return identity
  }

  /// Takes the resource's identity away: data under the customer's key can't be read until it has one again and that
  /// one is granted access (SEMANTICS I3).
  public func switchIdentityOff() async throws(KeyCustodyError) {
    let record = try await custody.record(id)
    if let identity = try await custody.managedIdentity(of: record) {
      try await custody.identities.delete(identity)
    }
    try await custody.change(id) { $0.identity = nil }
  }

  /// Puts new long-term data under the customer's key at once, and leaves stored data to the jobs of the service.
  ///
  /// ``JobRunner`` converts it, in this process or another; ``status()`` tells how far it is.
  ///
  /// - Parameter key: the key's address; without a version the newest is taken and kept (SEMANTICS E5).
  /// - Throws: an error of its own for each check of SEMANTICS E4; nothing is changed then.
  public func enableCustomerKey(_ key: KeyURI) async throws(KeyCustodyError) {
    try await whilePlanned { (record) throws(KeyCustodyError) in try await beginEnabling(key, record) }
  }

  /// Goes over to a newer version of the customer's key, or to another key: new data at once, stored data by the jobs of
  /// the service where the profile re-encrypts (SEMANTICS E7).
  public func updateCustomerKey(_ key: KeyURI) async throws(KeyCustodyError) {
    try await whilePlanned { (record) throws(KeyCustodyError) in try await beginUpdating(key, record) }
  }

  /// Goes back to service-managed keys: new data at once, stored data by the jobs of the service (SEMANTICS E11).
  ///
  /// - Throws: `denied` and the like while the customer's key is withdrawn.
  public func disableCustomerKey() async throws(KeyCustodyError) {
    try await whilePlanned { (record) throws(KeyCustodyError) in try await beginDisabling(record) }
  }

  /// Puts long-term data under the customer's key: new data at once, stored data by converting it.
  ///
  /// Returns when everything in `stores` is converted; the resource works fully meanwhile. When it is interrupted,
  /// ``resumeConversion(of:)`` goes on. Whoever writes meanwhile seals and stores in one step
  /// (``seal(_:as:dataClass:identifiers:storing:)``): the conversion waits for what is on its way into a store.
  ///
  /// - Parameters:
  ///   - key: the key's address; without a version the newest is taken and kept (SEMANTICS E5).
  ///   - stores: where the resource's sealed data is kept, all of it: what is in none of them can't be opened any more
  ///     when the conversion has ended.
  /// - Throws: an error of its own for each check of SEMANTICS E4; nothing is changed then.
  public func enableCustomerKey(_ key: KeyURI, converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    try await beginEnabling(key, try await custody.record(id))
    try await resumeConversion(of: stores)
  }

  private func beginEnabling(_ key: KeyURI, _ record: ResourceRecord) async throws(KeyCustodyError) {
    guard let mode = record.mode.after(.enable) else { throw wrongState(record.mode, "enabled") }
    guard record.primary(.customer, .longTerm) != nil else {
      throw KeyCustodyError(
        .invalidInput, .dataClassUnknown,
        "The profile '\(record.profile.name)' keeps no long-term data: there is nothing for a customer's key to protect.",
        remedy: "Use a profile with a data class of the group 'longTerm'.")
    }
    try await bound(to: key, record) { (identity, full, isFollowed) throws(KeyCustodyError) in
      try await switchOuterLayer(
        of: record, to: mode, customerKey: full, isFollowed: isFollowed, kek: full, holder: identity,
        isCustomerManaged: true)
    }
  }

  /// Goes over to a newer version of the customer's key, or to another key, without interruption (SEMANTICS E7).
  ///
  /// By the profile's choice the keyset is wrapped anew, or the stored data converted to a new root key.
  public func updateCustomerKey(_ key: KeyURI, converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    let record = try await custody.record(id)
    try await beginUpdating(key, record)
    if record.profile.rotation == .reencrypt { try await resumeConversion(of: stores) }
  }

  /// Makes the change to a record that was read before; fails where its keyset is another one by now.
  func beginUpdating(_ key: KeyURI, _ record: ResourceRecord) async throws(KeyCustodyError) {
    guard let mode = record.mode.after(.update) else { throw wrongState(record.mode, "updated") }
    try await bound(to: key, record) { (identity, full, isFollowed) throws(KeyCustodyError) in
      switch record.profile.rotation {
      case .reencrypt:
        try await switchOuterLayer(
          of: record, to: mode, customerKey: full, isFollowed: isFollowed, kek: full, holder: identity,
          isCustomerManaged: true)
      case .rewrap:
        var old: [KeysToRewrap] = []
        for key in record.rootKeys where key.isCustomerManaged { old.add(key, to: full) }
        try await rewrap(old, of: record, holder: identity) { current in
          current.customerKey = full
          current.followsNewest = isFollowed
        }
      }
    }
  }

  /// Goes back to service-managed keys: afterwards taking the customer's key away has no effect (SEMANTICS E11).
  ///
  /// - Throws: `denied` and the like while the customer's key is withdrawn: what it protects can't be converted then.
  public func disableCustomerKey(converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    try await beginDisabling(try await custody.record(id))
    try await resumeConversion(of: stores)
  }

  private func beginDisabling(_ record: ResourceRecord) async throws(KeyCustodyError) {
    guard let mode = record.mode.after(.disable), let key = record.customerKey else {
      throw wrongState(record.mode, "disabled")
    }
    // Without the key nothing could be converted: say so before anything is changed.
    for old in record.rootKeys where old.isCustomerManaged { try await custody.unwrap(old, of: id).destroy() }
    let kek = try custody.serviceKey(.customer)
    try await switchOuterLayer(
      of: record, to: mode, customerKey: key, isFollowed: false, kek: kek, holder: custody.servicePrincipal,
      isCustomerManaged: false)
  }

  /// Makes a new outer root key for long-term data and lets new data use it.
  ///
  /// Never an old one wrapped anew: what a service KEK once wrapped may live on in backups (SEMANTICS E10).
  private func switchOuterLayer(
    of record: ResourceRecord, to mode: EncryptionMode, customerKey: KeyURI, isFollowed: Bool, kek: KeyURI,
    holder: PrincipalID,
    isCustomerManaged: Bool
  ) async throws(KeyCustodyError) {
    let new = try await custody.newRootKey(
      id, layer: .customer, group: .longTerm, epoch: record.nextEpoch, kek: kek, holder: holder,
      isCustomerManaged: isCustomerManaged)
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.mode == record.mode, current.rootKeys == record.rootKeys else { throw Self.changedMeanwhile(id) }
      current.setPrimary(new)
      current.mode = mode
      current.customerKey = customerKey
      current.followsNewest = isFollowed
    }
  }

  private func wrongState(_ mode: EncryptionMode, _ wanted: String) -> KeyCustodyError {
    wrongState(mode, "The customer's key of '\(id)'", wanted)
  }

  func wrongState(_ mode: EncryptionMode, _ what: String, _ wanted: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongResourceState, "\(what) can't be \(wanted) while the resource is \(mode.rawValue).",
      remedy: "'keycustody resource status \(id)' shows where it stands; a conversion under way is finished first.")
  }

  static func changedMeanwhile(_ id: ResourceID) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .conflict, "The keyset of '\(id)' was changed by somebody else meanwhile; nothing was done.",
      remedy: "Look at its status, then try again.", retryAfter: .milliseconds(100))
  }
}
