public import KeyCustody
public import KeyCustodyEnvelope

/// What a customer owns at a service, with all its data sealed in two layers (SEMANTICS E1, E2): a handle to seal and
/// open with, and to bind the customer's key.
///
/// Every sealed value is bound to its resource, its data class, the name of its object and any identifiers that are kept
/// in clear beside it: opening asks for the same, and nothing else opens.
public struct ProtectedResource: Sendable {
  /// Which resource.
  public let id: ResourceID
  let custody: KeyCustody

  /// The name of the class that data belongs to unless said otherwise: `long-term`.
  public static let defaultClass = "long-term"

  // MARK: Bytes

  /// Seals a small value (at most 1 MiB) in one piece.
  ///
  /// - Parameters:
  ///   - object: the value's name within the resource, 1 to 512 bytes; needed again to open it.
  ///   - dataClass: a class of the resource's profile.
  ///   - identifiers: what is kept in clear beside the value; a changed or swapped identifier is found on opening.
  /// - Throws: `denied`, `disabled` or `notFound` while the customer's key is withdrawn; `invalidInput`, `unavailable`.
  public func seal(
    _ bytes: [UInt8], as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> [UInt8] {
    let context = try context(object, dataClass, identifiers)
    return try await withKeys(context) { (keys) throws(KeyCustodyError) in
      try TwoLayers.sealRecord(bytes, keys: keys, context: context, random: custody.environment.random)
    }
  }

  /// Opens what ``seal(_:as:dataClass:identifiers:)`` sealed.
  ///
  /// - Throws: `integrityFailure` for anything altered, truncated, swapped or sealed with another context; what sealing
  ///   throws.
  public func open(
    _ sealed: [UInt8], as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> [UInt8] {
    try await TwoLayers.openRecord(sealed, keys: keys, context: try context(object, dataClass, identifiers))
  }

  // MARK: Files

  /// Seals a file of any size into another; the target appears whole or not at all.
  ///
  /// - Parameter progress: told how many bytes of the source are done, now and then.
  public func sealFile(
    _ source: String, to target: String, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:], progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let context = try context(object, dataClass, identifiers)
    try await TwoLayers.sealFile(
      from: source, to: target, keys: try await primaries(context), renewingFrom: keys, context: context,
      random: custody.environment.random, progress: progress)
  }

  /// Opens a sealed file into another; the target appears whole and authentic, or not at all.
  public func openFile(
    _ source: String, to target: String, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:], progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    try await TwoLayers.openFile(
      from: source, to: target, keys: keys, context: try context(object, dataClass, identifiers), progress: progress)
  }

  // MARK: Streams

  /// Seals a stream of any size as it is read; asks for the next piece only when the last was taken.
  public func sealStream<Input: AsyncSequence & Sendable>(
    _ input: Input, as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> SealingStream<Input> where Input.Element == [UInt8] {
    let context = try context(object, dataClass, identifiers)
    return TwoLayers.sealStream(
      input, keys: try await primaries(context), renewingFrom: keys, context: context,
      random: custody.environment.random)
  }

  /// Opens a sealed stream as it is read: only authentic bytes come out, and a missing end is an error at the end.
  public func openStream<Input: AsyncSequence & Sendable>(
    _ input: Input, as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) -> OpeningStream<Input> where Input.Element == [UInt8] {
    TwoLayers.openStream(input, keys: keys, context: try context(object, dataClass, identifiers))
  }

  /// Opens a sealed object for reading anywhere in it.
  public func reader(
    over sealed: any RandomAccessBytes, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> any RandomAccessBytes {
    try await TwoLayers.reader(over: sealed, keys: keys, context: try context(object, dataClass, identifiers))
  }

  // MARK: What the customer sees

  /// The state of the resource, found out now by really unwrapping what its data needs (SEMANTICS E16).
  public func status() async throws(KeyCustodyError) -> ResourceStatus {
    let record = try await custody.record(id, refresh: true)
    var health = ResourceStatus.Health.available
    for key in record.rootKeys where key.isPrimary {
      do throws(KeyCustodyError) { try await custody.unwrap(key, of: id).destroy() } catch {
        switch error.retryClass {
        case .later, .afterChecking: health = .unreachable(reason: error.reason.rawValue)
        case .never, .afterOperator: health = .suspended(reason: error.reason.rawValue)
        }
        break
      }
    }
    return ResourceStatus(
      resource: id, profile: record.profile.name, mode: record.mode, key: record.customerKey,
      identity: record.identity, health: health, outgoingRootKeys: record.outgoing.count)
  }

  /// The wrapped root keys, as JWE (RFC 7516): with the private keys of their KEKs, all that opening the data needs.
  public func envelopes() async throws(KeyCustodyError) -> [KeyEnvelope] {
    try await custody.record(id, refresh: true).rootKeys.map(\.envelope)
  }

  // MARK: Keys and contexts

  var keys: ResourceKeys { ResourceKeys(custody: custody, resource: id) }

  func context(
    _ object: String, _ dataClass: String, _ identifiers: [String: String]
  ) throws(KeyCustodyError) -> SealingContext {
    try SealingContext(
      resource: id, dataClass: try DataClass(dataClass), object: object, identifiers: identifiers)
  }

  /// The keys that new data of a class is sealed under.
  private func primaries(_ context: SealingContext) async throws(KeyCustodyError) -> LayeredKeys {
    let record = try await custody.record(id)
    let group = try record.profile.group(of: context.dataClass)
    guard let service = record.primary(.service, group), let customer = record.primary(.customer, group) else {
      throw KeyCustodyError(
        .integrityFailure, .damaged, "The resource '\(id)' lacks root keys for the data class '\(context.dataClass)'.",
        remedy: "Restore the policy store from a backup.")
    }
    return LayeredKeys(
      service: try await custody.lease(service, of: record), customer: try await custody.lease(customer, of: record))
  }

  /// Seals with living keys; when a lease ends meanwhile, once more with whatever is allowed by then.
  private func withKeys<Result>(
    _ context: SealingContext, _ body: (LayeredKeys) throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    do throws(KeyCustodyError) { return try body(try await primaries(context)) } catch {
      guard error.reason == .leaseEnded else { throw error }
      return try body(try await primaries(context))
    }
  }
}
