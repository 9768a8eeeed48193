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
    if let sealer = custody.cache.sealer(id, dataClass) {
      do throws(KeyCustodyError) { return try sealer.seal(bytes, as: object, identifiers: identifiers) } catch {
        guard error.reason == .leaseEnded else { throw error }
      }
    }
    let context = try context(object, dataClass, identifiers)
    let (keys, sealed) = try await sealedByPrimaries(bytes, context)
    // An epoch of transient data ends by the clock: who looks its keys up each time sees that.
    if custody.leases.duration > .zero, try await custody.outline(id).profile.group(of: context.dataClass) != .transient
    {
      try keepSealer(keys, dataClass)
    }
    return sealed
  }

  private func sealedByPrimaries(
    _ bytes: [UInt8], _ context: SealingContext
  ) async throws(KeyCustodyError) -> (LayeredKeys, [UInt8]) {
    var attempt = 1
    while true {
      let keys = try await primaries(context)
      do throws(KeyCustodyError) { return (keys, try sealRecord(bytes, context, with: keys)) } catch {
        // The lease ended between the look-up and the use.
        guard error.reason == .leaseEnded, attempt < 8 else { throw error }
        attempt += 1
      }
    }
  }

  /// Seals a small value and has it stored, as one step.
  ///
  /// A conversion waits for it, so that what is stored is found by it and never under a root key that is gone. Values
  /// that are sealed and stored in two steps may come too late for a conversion that runs in between.
  ///
  /// - Parameter store: keeps the sealed form. It may be called again, with another form: where other processes share
  ///   the deployment, what took longer than a lease to store may be under a key that is on its way out.
  /// - Throws: what sealing and `store` throw.
  public func seal(
    _ bytes: [UInt8], as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:],
    storing store: ([UInt8]) async throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    let context = try context(object, dataClass, identifiers)
    try await whileSealing(context) { (keys) throws(KeyCustodyError) in
      try await store(try sealRecord(bytes, context, with: keys))
    }
  }

  /// Opens what ``seal(_:as:dataClass:identifiers:)`` sealed.
  ///
  /// - Throws: `integrityFailure` for anything altered, truncated, swapped or sealed with another context;
  ///   `invalidInput` (`data-class-unknown`) for a class that the profile lacks; what sealing throws.
  public func open(
    _ sealed: [UInt8], as object: String, dataClass: String = defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> [UInt8] {
    if let opener = custody.cache.opener(id, dataClass) {
      do throws(KeyCustodyError) { return try opener.open(sealed, as: object, identifiers: identifiers) } catch {
        // Perhaps only this opener lacks the key.
        guard [.leaseEnded, .unknownRootKey].contains(error.reason) else { throw error }
      }
    }
    let context = try await openingContext(object, dataClass, identifiers)
    let content = try await TwoLayers.openRecord(sealed, keys: keys, context: context)
    if custody.leases.duration > .zero { try keepOpener(dataClass) }
    return content
  }

  // MARK: Files

  /// Seals a file of any size into another; the target appears whole or not at all, with the permissions of a file there.
  ///
  /// - Parameter progress: told how many bytes of the source are done, now and then.
  public func sealFile(
    _ source: String, to target: String, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:], progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    try await sealFile(
      source, to: target, shownAs: target, as: object, dataClass: dataClass, identifiers: identifiers,
      progress: progress
    ) { () throws(KeyCustodyError) in }
  }

  /// Seals a file and has it put in its place, as one step for a conversion.
  ///
  /// - Parameter name: that place, for messages.
  func sealFile(
    _ source: String, to target: String, shownAs name: String, as object: String, dataClass: String,
    identifiers: [String: String],
    progress: @escaping @Sendable (Int64) -> Void, storing store: () async throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    let context = try context(object, dataClass, identifiers)
    try await whileSealing(context) { (keys) throws(KeyCustodyError) in
      try await TwoLayers.sealFile(
        from: source, to: target, shownAs: name, keys: keys, renewingFrom: self.keys, context: context,
        random: custody.environment.random, progress: progress)
      try await store()
    }
  }

  /// Opens a sealed file into another; the target appears whole and authentic, or not at all, and for this user alone,
  /// whatever permissions a file there had.
  public func openFile(
    _ source: String, to target: String, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:], progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let context = try await openingContext(object, dataClass, identifiers)
    try await TwoLayers.openFile(from: source, to: target, keys: keys, context: context, progress: progress)
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
  ) async throws(KeyCustodyError) -> OpeningStream<Input> where Input.Element == [UInt8] {
    TwoLayers.openStream(input, keys: keys, context: try await openingContext(object, dataClass, identifiers))
  }

  /// Opens a sealed object for reading anywhere in it.
  public func reader(
    over sealed: any RandomAccessBytes, as object: String, dataClass: String = defaultClass,
    identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) -> any RandomAccessBytes {
    let context = try await openingContext(object, dataClass, identifiers)
    return try await TwoLayers.reader(over: sealed, keys: keys, context: context)
  }

  // MARK: What the customer sees

  /// The state of the resource, found out now by really unwrapping what its data needs (SEMANTICS E16).
  public func status() async throws(KeyCustodyError) -> ResourceStatus {
    // Before the record: a job that ends in between must not look like a conversion that nobody finishes.
    let job = try await custody.pendingJob(for: id)
    let record = try await custody.record(id)
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
      identity: record.identity, health: health, outgoingRootKeys: record.outgoing.count,
      job: job)
  }

  /// The state of the resource now, and again whenever it is another one, until the resource is deleted or nobody reads
  /// on (SEMANTICS E16).
  ///
  /// Changes are seen as they are made, in this process and in those that share its store; what nobody tells of, such as
  /// a key provider that went away, is seen within `interval`.
  public func statusUpdates(every interval: Duration = .seconds(10)) -> AsyncStream<ResourceStatus> {
    let (states, told) = AsyncStream.makeStream(of: ResourceStatus.self, bufferingPolicy: .bufferingNewest(1))
    let (looks, look) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let (changes, time) = (custody.resourceChanges.stream(), custody.environment.time)
    let watching = Task {
      for await changed in changes where changed == nil || changed == id { look.yield() }
    }
    let ticking = Task {
      repeat {
        look.yield()
        do { try await time.wait(until: time.running() + interval) } catch { break }
      } while !Task.isCancelled
    }
    let looking = Task {
      var last: ResourceStatus?
      for await _ in looks {
        do throws(KeyCustodyError) {
          let status = try await status()
          if status != last { told.yield(status) }
          last = status
        } catch {
          if error.reason == .resourceUnknown || error.reason == .closed { break }
        }
      }
      told.finish()
    }
    told.onTermination = { _ in
      for task in [watching, ticking, looking] { task.cancel() }
    }
    return states
  }

  /// What the service chose for the resource: its classes of data, and how a newer key takes over.
  public func profile() async throws(KeyCustodyError) -> Profile { try await custody.outline(id).profile }

  /// The wrapped root keys, as JWE (RFC 7516): with the private keys of their KEKs, all that opening the data needs.
  public func envelopes() async throws(KeyCustodyError) -> [KeyEnvelope] {
    try await custody.record(id).rootKeys.map(\.envelope)
  }

  // MARK: Keys and contexts

  /// The resource's root keys by lease, for use with ``TwoLayers`` and the layers themselves.
  public var rootKeys: ResourceKeys { keys }

  var keys: ResourceKeys { ResourceKeys(custody: custody, resource: id) }

  func context(
    _ object: String, _ dataClass: String, _ identifiers: [String: String]
  ) throws(KeyCustodyError) -> SealingContext {
    try SealingContext(
      resource: id, dataClass: try DataClass(dataClass), object: object, identifiers: identifiers)
  }

  /// The context of what is to be opened, of a class that the profile has: under another one nothing was ever sealed.
  ///
  /// - Throws: `invalidInput` (`data-class-unknown`).
  private func openingContext(
    _ object: String, _ dataClass: String, _ identifiers: [String: String]
  ) async throws(KeyCustodyError) -> SealingContext {
    let context = try context(object, dataClass, identifiers)
    _ = try await custody.outline(id).profile.group(of: context.dataClass)
    return context
  }

  private func sealRecord(
    _ bytes: [UInt8], _ context: SealingContext, with keys: LayeredKeys
  ) throws(KeyCustodyError) -> [UInt8] {
    try TwoLayers.sealRecord(bytes, keys: keys, context: context, random: custody.environment.random)
  }

  /// The keys that new data of a class is sealed under.
  func primaries(_ context: SealingContext) async throws(KeyCustodyError) -> LayeredKeys {
    for _ in 0..<8 {
      var known = try await custody.outline(id)
      let group = try known.profile.group(of: context.dataClass)
      known = try await custody.withEpoch(known, group)
      guard let service = known.primary(.service, group), let customer = known.primary(.customer, group) else {
        throw KeyCustodyError(
          .integrityFailure, .damaged,
          "The resource '\(id)' lacks root keys for the data class '\(context.dataClass)'.",
          remedy: "Restore the policy store from a backup.")
      }
      do throws(KeyCustodyError) {
        let keys = LayeredKeys(
          service: try await custody.lease(service, of: id), customer: try await custody.lease(customer, of: id))
        if try await isPrimary(customer.id, group) { return keys }
      } catch {
        // What this process remembered was out of date, and by now it knows better.
        guard error.reason == .unknownRootKey, try await !isPrimary(customer.id, group) else { throw error }
      }
    }
    throw Self.changedMeanwhile(id)
  }

  func isPrimary(_ key: RootKeyID, _ group: RootKeyGroup) async throws(KeyCustodyError) -> Bool {
    try await custody.outline(id).primary(.customer, group)?.id == key
  }

  /// Seals under keys that a conversion does not drop before `body` is over, or does so again.
  private func whileSealing<Result>(
    _ context: SealingContext, _ body: (LayeredKeys) async throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    for _ in 0..<8 {
      let keys = try await primaries(context)
      custody.sealings.begin(keys.customer.id)
      defer { custody.sealings.end(keys.customer.id) }
      let deadline = custody.leases.deadline(of: keys.customer.id)
      // Looked up after the beginning: either the conversion sees this sealing, or this sees the conversion.
      let group = try await custody.outline(id).profile.group(of: context.dataClass)
      guard try await isPrimary(keys.customer.id, group) else { continue }
      let result: Result
      do throws(KeyCustodyError) { result = try await body(keys) } catch {
        // It ended between the look-up and the use: whoever may still use the key gets it again. Or it is gone, since a
        // conversion elsewhere did not wait for longer than a lease.
        if error.reason == .leaseEnded { continue }
        guard error.reason == .unknownRootKey, try await !isPrimary(keys.customer.id, group) else { throw error }
        continue
      }
      if try await isKept(keys.customer.id, group, storedUnderLeaseUntil: deadline) { return result }
    }
    throw Self.changedMeanwhile(id)
  }
  /// Whether what was just stored under a root key is found by a conversion that drops the key, wherever that runs.
  ///
  /// Conversions in this process wait for the sealing itself, those in others for as long as a lease lasts after the
  /// key was retired.
  private func isKept(
    _ key: RootKeyID, _ group: RootKeyGroup, storedUnderLeaseUntil deadline: Duration?
  ) async throws(KeyCustodyError) -> Bool {
    guard custody.resources.store.isShared else { return true }
    if let deadline, custody.environment.time.running() < deadline { return true }
    return try await custody.record(id).primary(.customer, group)?.id == key
  }

  // MARK: Operations

  /// Throws while an operation of the profile is stopped by a withdrawn key (SEMANTICS E9); passes otherwise.
  ///
  /// What needs long-term data stops by itself. This is for what would go on without it, such as passing messages on.
  ///
  /// - Throws: `invalidInput` (`operation-unknown`); `denied`, `disabled` or `notFound`, with the reason, while the
  ///   customer's key is withdrawn; `unavailable` when it is out of reach for longer than a lease.
  public func require(_ operation: String) async throws(KeyCustodyError) {
    let known = try await custody.outline(id)
    guard try known.profile.rule(for: operation).stopsWithKey else { return }
    for key in known.rootKeys where key.isCustomerManaged && key.isPrimary {
      _ = try await custody.lease(key, of: id)
    }
  }
}
