public import KeyCustody
import KeyCustodyCrypto
import Logging

extension AzureKeyVaultProvider {
  /// Makes a key in the vault.
  public func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try capabilities.require(.generate(request.type))
    try Self.check(request)
    return try await run(context) { (deadline) throws(KeyCustodyError) in try await self.generated(request, deadline) }
  }

  /// Brings a key into the vault after checking on this host that it is sound.
  public func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try capabilities.require(.importing(request.type))
    try Self.check(request)
    let copy = material.copy()
    return try await run(context) { (deadline) throws(KeyCustodyError) in
      let members = try await self.worker.run { () throws(KeyCustodyError) in
        try SoftwareKey.read(copy, as: request.type).privateJSONWebKeyMembers()
      }
      let mark = try self.environment.random.bytes(16).hexadecimal
      let body = self.importBody(members, request, mark)
      let ask = VaultAsk(method: .put, path: "/keys/\(self.name(of: request.version))", body: body)
      return try await self.make(ask, request.version, mark, deadline).description
    }
  }

  private static func check(_ request: GenerateKeyRequest) throws(KeyCustodyError) {
    try request.validate()
    try request.requireAllowedRole()
    guard !request.backupable else {
      throw KeyCustodyError(
        .unsupported, .notOffered, "This key provider makes no backups.", remedy: "Ask for a key without backups.")
    }
  }

  func generated(_ request: GenerateKeyRequest, _ deadline: Duration) async throws(KeyCustodyError) -> KeyDescription {
    let mark = try environment.random.bytes(16).hexadecimal
    var body: JSON = [
      "kty": .string(keyType(request.type)), "key_ops": .array(Naming.operations(request.role)),
      "tags": Naming.tags(request, .generated, mark: mark),
    ]
    if case .object(var members) = body {
      switch request.type {
      case .rsa(let bits), .aes(let bits): members["key_size"] = .integer(Int64(bits))
      case .ec(let curve): members["crv"] = .string(curve.rawValue)
      }
      body = .object(members)
    }
    let ask = VaultAsk(
      method: .post, path: "/keys/\(name(of: request.version))/create",
      body: HTTPAsk.Body(SecretBytes(copying: body.bytes)))
    return try await make(ask, request.version, mark, deadline).description
  }

  private func keyType(_ type: KeyType) -> String {
    let name =
      switch type {
      case .rsa: "RSA"
      case .ec: "EC"
      case .aes: "oct"
      }
    return settings.settings.protection == .hsm ? "\(name)-HSM" : name
  }

  private func importBody(
    _ members: borrowing SecretBytes, _ request: GenerateKeyRequest, _ mark: String
  ) -> HTTPAsk.Body {
    let isHSM = settings.settings.protection == .hsm
    let operations = JSON.array(Naming.operations(request.role)).bytes
    let tags = Naming.tags(request, .imported, mark: mark).bytes
    let head = Array("{\"key\":{\"kty\":\"\(keyType(request.type))\",\"key_ops\":".utf8) + operations + Array(",".utf8)
    let tail = Array("},\"Hsm\":\(isHSM),\"tags\":".utf8) + tags + Array("}".utf8)
    return HTTPAsk.Body(members.preceded(by: head).followed(by: SecretBytes(copying: tail)))
  }

  // MARK: Never a second version

  /// Makes a key version whose name is free, asking no more often than is safe.
  private func make(
    _ ask: VaultAsk, _ version: KeyVersionID, _ mark: String, _ deadline: Duration
  ) async throws(KeyCustodyError) -> RemoteKey {
    await turns.begin(version)
    defer { turns.end(version) }
    guard try await versions(of: version, deadline).isEmpty else { throw .keyExists(version) }
    var ask = ask
    (ask.isRepeatable, ask.isChange, ask.requestID) = (false, true, Self.requestID(mark))
    for tries in 1... {
      let error: KeyCustodyError
      var isUndone = false
      switch try await attempt(ask, version, deadline) {
      case .made(let bundle): return try await settled(bundle, version, mark, deadline)
      case .undone(let refusal): (error, isUndone) = (refusal, true)
      case .unknown(let cause): error = .unknownOutcome(settings.vault.authority, cause.debugDescription)
      }
      if let own = try await own(version, mark, error, deadline) { return own }
      guard isUndone, tries < VaultConnection.mostTries,
        await pause(error.retryAfter ?? .milliseconds(200 << tries), deadline)
      else { throw error }
    }
    throw .unknownOutcome(settings.vault.authority)
  }

  /// What came of asking for a key.
  private enum Attempt {
    /// It was made: its bundle.
    case made(JSON?)
    /// The vault says itself that it did nothing: the same may be asked again.
    case undone(KeyCustodyError)
    /// It may have been made.
    case unknown(KeyCustodyError)
  }

  private func attempt(
    _ ask: VaultAsk, _ version: KeyVersionID, _ deadline: Duration
  ) async throws(KeyCustodyError) -> Attempt {
    let answer: VaultAnswer
    do throws(KeyCustodyError) { answer = try await vault.ask(ask, by: deadline) } catch {
      guard error.code == .timeout else { throw error }
      return .unknown(error)
    }
    if answer.isGood { return .made(answer.json) }
    let error = answer.error(settings.vault.authority, version)
    switch answer.status {
    case 429, 503: return .undone(error)
    case 408, 500...599: return .unknown(error)
    default: throw error
    }
  }

  /// Waits, where that leaves time for an answer.
  private func pause(_ duration: Duration, _ deadline: Duration) async -> Bool {
    let end = environment.time.running() + duration
    guard end < deadline else { return false }
    return (try? await environment.time.wait(until: end)) != nil
  }

  /// A name in the form of a UUID: a vault of ours takes a second asking under the same one for a repeat.
  private static func requestID(_ mark: String) -> String {
    let digits = Array(mark)
    return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
  }

  /// The key that was made although its answer was lost; `nil` when there is none.
  private func own(
    _ version: KeyVersionID, _ mark: String, _ outcome: KeyCustodyError, _ deadline: Duration
  ) async throws(KeyCustodyError) -> RemoteKey? {
    let found: [KeyVersionItem]
    do throws(KeyCustodyError) { found = try await versions(of: version, deadline) } catch { throw outcome }
    guard let mine = found.first(where: { $0.mark == mark }) else { return nil }
    return try await won(mine, found, version, mark, deadline)
  }

  private func settled(
    _ bundle: JSON?, _ version: KeyVersionID, _ mark: String, _ deadline: Duration
  ) async throws(KeyCustodyError) -> RemoteKey {
    let made: RemoteKey
    let found: [KeyVersionItem]
    // It was made; whether it is the one that counts, and what it is, is not known before all of this went well.
    do throws(KeyCustodyError) {
      made = try RemoteKey(bundle, version, prefix: settings.settings.prefix, checkValue: nil)
      found = try await versions(of: version, deadline)
      if found.count == 1, found.first?.version == made.remoteVersion { return try await keep(made, deadline) }
    } catch { throw .unknownOutcome(settings.vault.authority, error.debugDescription) }
    guard let mine = found.first(where: { $0.version == made.remoteVersion }) else {
      throw .unknownOutcome(settings.vault.authority, "The list lacks it.")
    }
    return try await won(mine, found, version, mark, deadline)
  }

  /// The key, when no other maker's version is as old as ours; otherwise ours is switched off.
  private func won(
    _ mine: KeyVersionItem, _ found: [KeyVersionItem], _ version: KeyVersionID, _ mark: String, _ deadline: Duration
  ) async throws(KeyCustodyError) -> RemoteKey {
    guard found.contains(where: { $0.mark != mark && $0.created <= mine.created }) else {
      do throws(KeyCustodyError) { return try await look(version, deadline) } catch {
        throw .unknownOutcome(settings.vault.authority, error.debugDescription)
      }
    }
    for item in found where item.mark == mark {
      let ask = VaultAsk(
        method: .patch, path: "/keys/\(name(of: version))/\(item.version)",
        body: HTTPAsk.Body(SecretBytes(copying: Array("{\"attributes\":{\"enabled\":false}}".utf8))), isChange: true)
      let answer = try? await vault.ask(ask, by: deadline)
      if !(answer?.isGood ?? false) {
        environment.logger.warning(
          "a version of a key that another process made first could not be switched off",
          metadata: ["key": "\(name(of: version))", "version": "\(item.version)"])
      }
    }
    throw .keyExists(version)
  }

  // MARK: Destroying

  /// Deletes a key, and purges it where the vault lets this program do that.
  ///
  /// Where it does not, the key is deleted: nobody can use it, and the vault purges it when its time has come.
  public func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await run(context) { (deadline) throws(KeyCustodyError) in
      let ask = VaultAsk(method: .delete, path: "/keys/\(self.name(of: version))", isChange: true)
      let answer = try await self.vault.ask(ask, by: deadline)
      // Asked for twice because an answer was lost, it may be gone by the first.
      let isGone = answer.isRepeat && answer.status == 404 && answer.code == "KeyNotFound"
      guard answer.isGood || isGone else { throw self.refusal(answer, version) }
      _ = self.keys.forget(version)
      self.broadcaster.send(.keyGone(version))
      if isGone || answer.json?["recoveryId"]?.string != nil { await self.purge(version, deadline) }
    }
  }

  private func purge(_ version: KeyVersionID, _ deadline: Duration) async {
    let ask = VaultAsk(method: .delete, path: "/deletedkeys/\(name(of: version))", isChange: true)
    var isPurged = false
    var why = "no time was left"
    repeat {
      do throws(KeyCustodyError) {
        let answer = try await vault.ask(ask, by: deadline)
        isPurged = answer.isGood || answer.isRepeat && answer.status == 404
        why = answer.diagnostic
        // Azure's vaults take some seconds to delete; until then there is nothing to purge.
        guard [404, 409].contains(answer.status), !isPurged else { break }
      } catch {
        why = error.debugDescription
        break
      }
    } while await pause(.seconds(2), deadline - .seconds(1))
    guard !isPurged else { return }
    environment.logger.warning(
      "a destroyed key is deleted in its vault and not purged",
      metadata: ["key": "\(name(of: version))", "why": "\(why)"])
  }
}
