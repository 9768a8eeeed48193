public import KeyCustody

/// A key provider around another one that fails where a ``FaultPlan`` says so.
public struct FaultingKeyProvider: KeyProvider {
  /// What can be made to fail.
  public enum Operation: String, Sendable, Hashable, CaseIterable {
    /// Making a key version.
    case generate
    /// Bringing key material in.
    case importKey
    /// Describing a key version.
    case describe
    /// Destroying a key version.
    case destroy
    /// Wrapping.
    case wrap
    /// Unwrapping.
    case unwrap
    /// Signing.
    case sign
    /// The check that the backend works.
    case probe
    /// Listing key versions.
    case inventory
    /// Backing a key version up.
    case backUp
    /// Restoring a backup.
    case restore
  }

  /// The provider that does the work.
  public let inner: any KeyProvider
  /// What fails.
  public let plan: FaultPlan<Operation>

  /// Puts faults around `inner`.
  public init(_ inner: any KeyProvider, plan: FaultPlan<Operation>) {
    self.inner = inner
    self.plan = plan
  }

  /// The inner provider's.
  public var identity: ProviderIdentity { inner.identity }
  /// The inner provider's.
  public var capabilities: KeyProviderCapabilities { inner.capabilities }
  /// The inner provider's, with faults.
  public var inventory: (any KeyInventory)? { inner.inventory.map { FaultingInventory(inner: $0, plan: plan) } }
  /// The inner provider's, with faults.
  public var backup: (any KeyBackup)? { inner.backup.map { FaultingBackup(inner: $0, plan: plan) } }
  /// The inner provider's.
  public func events() -> AsyncStream<KeyProviderEvent> { inner.events() }
  /// Closes the inner provider; never fails.
  public func close() async { await inner.close() }

  /// Makes a key version, or fails by plan.
  public func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await plan.run(.generate, grows: true) { () async throws(KeyCustodyError) in
      try await inner.generate(request, context: context)
    }
  }

  /// Brings key material in, or fails by plan.
  public func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    // Without `run`: a borrowed value can't be captured.
    let faults = await plan.enter(.importKey, grows: true)
    if let error = faults.before { throw error }
    let description = try await inner.importKey(material, as: request, context: context)
    if let error = faults.after { throw error }
    return description
  }

  /// Describes a key version, or fails by plan.
  public func describe(
    _ version: KeyVersionID, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await plan.run(.describe) { () async throws(KeyCustodyError) in
      try await inner.describe(version, context: context)
    }
  }

  /// Destroys a key version, or fails by plan.
  public func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await plan.run(.destroy) { () async throws(KeyCustodyError) in
      try await inner.destroy(version, context: context)
    }
  }

  /// Wraps, or fails by plan.
  public func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    let faults = await plan.enter(.wrap)
    if let error = faults.before { throw error }
    let wrapped = try await inner.wrap(secret, with: request)
    if let error = faults.after { throw error }
    return wrapped
  }

  /// Unwraps, or fails by plan.
  public func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try await plan.run(.unwrap) { () async throws(KeyCustodyError) in
      try await inner.unwrap(wrapped, with: request)
    }
  }

  /// Signs, or fails by plan.
  public func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await plan.run(.sign) { () async throws(KeyCustodyError) in try await inner.sign(digest, with: request) }
  }

  /// Checks the inner provider, or fails by plan.
  public func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await plan.run(.probe) { () async throws(KeyCustodyError) in
      try await inner.probe(version, context: context)
    }
  }
}

private struct FaultingInventory: KeyInventory {
  let inner: any KeyInventory
  let plan: FaultPlan<FaultingKeyProvider.Operation>

  func versions(after version: KeyVersionID?, limit: Int) async throws(KeyCustodyError) -> [KeyVersionID] {
    try await plan.run(.inventory) { () async throws(KeyCustodyError) in
      try await inner.versions(after: version, limit: limit)
    }
  }
}

private struct FaultingBackup: KeyBackup {
  let inner: any KeyBackup
  let plan: FaultPlan<FaultingKeyProvider.Operation>

  func backUp(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> [UInt8] {
    try await plan.run(.backUp) { () async throws(KeyCustodyError) in
      try await inner.backUp(version, context: context)
    }
  }
  func restore(_ blob: [UInt8], context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await plan.run(.restore) { () async throws(KeyCustodyError) in
      try await inner.restore(blob, context: context)
    }
  }
}
