#if CommandLine
  import KeyCustody
  import KeyCustodyFile
  import KeyCustodyMemory
  import KeyCustodyPKCS11
  import KeyCustodyServices
  import KeyCustodyVault

  /// The tour: every step does the real thing, checks it, and prints one line.
  struct Tour {
    /// One line of the tour, as JSON.
    struct Line: Encodable {
      var step: String
      var ok: Bool
      var seconds: Double
      var bytes: Int64
      var detail: String
    }

    /// One file on its way through the tour.
    struct Item {
      var source: String
      var object: String
      var size: Int64
    }

    let folder: String
    let backend: TourCommand.Backend
    let output: Output
    let custody: KeyCustody
    let items: [Item]
    var notes: ProtectedResource
    let store: FolderSealedStore
    let vault: VaultName
    let owner: PrincipalID
    var key: KeyURI
    private var isWhole = true
    private let isInteractive: Bool

    init(
      folder: String, backend: TourCommand.Backend, module: String?, files: [String], output: Output, verbose: Bool
    ) async throws(KeyCustodyError) {
      self.folder = folder
      self.backend = backend
      self.output = output
      isInteractive = Process.isInteractive && output.format == .text
      let start = ContinuousClock.now
      let configuration = try await TourConfiguration.make(folder: folder, backend: backend, module: module)
      custody = try await KeyCustody.open(
        KeyCustodyConfiguration(configuration), plugins: Deployment.plugins,
        environment: Deployment.environment(baseDirectory: folder, verbose: verbose))
      vault = try VaultName("contoso-keys")
      owner = PrincipalID(tenant: try TenantID("contoso"), subject: try SubjectID("owner"))
      key = custody.vaults.uri(vault, try KeyName("notes"))
      items = try Self.items(files, folder)
      store = try FolderSealedStore(folder: "\(folder)/data")
      notes = try await custody.createResource(try ResourceID("contoso-notes"), tenant: owner.tenant)
      try await custody.identities.create(owner, kind: .user)
      try await custody.vaults.create(
        VaultDefinition(
          name: vault, tenant: owner.tenant, region: custody.region, keyProvider: "keys", purgeProtection: true))
      let permissions: Set<KeyPermission> = [.get, .list, .create, .update, .rotate, .delete, .recover]
      try await custody.vaults.setRule(AccessRule(name: "owner", principal: owner, keys: permissions), in: vault)
      let identity = custody.keyProviders["keys"]?.identity.description ?? ""
      emit("prepare", since: start, bytes: 0, "opened \(identity), made a vault and a resource")
    }

    /// The files to seal: those given, or those below the current folder and a generated one.
    private static func items(_ files: [String], _ folder: String) throws(KeyCustodyError) -> [Item] {
      var sources = files
      if files.isEmpty {
        let generated = "\(folder)/generated-256-MiB"
        try FileTools.generate(generated, bytes: 256 << 20)
        sources = FileTools.files(below: ".", limit: 2000) + [generated]
      }
      return sources.enumerated().map { index, path in
        Item(source: path, object: "file-\(index)/\(path.suffix(200))", size: FileTools.size(path))
      }
    }

    private var total: Int64 { items.map(\.size).reduce(0, +) }

    // MARK: Steps

    /// Runs the whole tour; `false` when a step was not as it must be.
    mutating func run() async throws(KeyCustodyError) -> Bool {
      do throws(KeyCustodyError) { try await walk() } catch {
        emit("failed", since: ContinuousClock.now, bytes: 0, ok: false, error.message)
        output.report(error)
        isWhole = false
      }
      await custody.close()
      return isWhole
    }

    private mutating func walk() async throws(KeyCustodyError) {
      try await step("seal", "sealed \(items.count) files in two layers under service-managed keys", total) {
        (tour, bar) async throws(KeyCustodyError) in try await tour.seal(bar)
      }
      try await verify("verify", "every byte is as it was")
      try await step("tamper", "a file with one flipped bit is refused, and no byte of it is released", 0) {
        (tour, _) async throws(KeyCustodyError) in try await tour.tamper()
      }
      try await step("create-key", "the customer made a key (rsa-2048) in its vault on \(backend.rawValue)", 0) {
        (tour, _) async throws(KeyCustodyError) in
        tour.key = try await tour.custody.vaults.createKey(
          tour.key, type: .rsa(bits: 2048), role: .wrapping, as: try await tour.caller(), context: tour.context
        ).uri
        return true
      }
      try await step("enable", "long-term data is under the customer's key: new root key, outer layer converted", total)
      {
        (tour, _) async throws(KeyCustodyError) in
        try await tour.notes.switchIdentityOn()
        try await tour.grant()
        try await tour.notes.enableCustomerKey(tour.key, converting: [tour.store])
        return try await tour.notes.status().mode == .customerManaged
      }
      try await verify("verify-enabled", "every byte is as it was")
      try await step("rotate", "a new version wraps the keyset; the old version is disabled; no data was touched", 0) {
        (tour, _) async throws(KeyCustodyError) in try await tour.rotate()
      }
      try await verify("verify-rotated", "every byte is as it was")
      try await step("revoke", "the customer withdrew the service's access", 0) {
        (tour, _) async throws(KeyCustodyError) in
        try await tour.custody.vaults.removeRule("service", in: tour.vault)
        return true
      }
      try await step("refused", "nothing opens and nothing new is sealed; the state says why", 0) {
        (tour, _) async throws(KeyCustodyError) in try await tour.refused()
      }
      try await step("restore", "the customer granted access again", 0) { (tour, _) async throws(KeyCustodyError) in
        try await tour.grant()
        return try await tour.notes.status().health == .available
      }
      try await verify("verify-restored", "every byte is as it was")
      try await step("disable", "back to service-managed keys; then the customer deleted the old key", total) {
        (tour, _) async throws(KeyCustodyError) in
        try await tour.notes.disableCustomerKey(converting: [tour.store])
        try await tour.custody.vaults.deleteKey(tour.key, as: try await tour.caller(), context: tour.context)
        return try await tour.notes.status().mode == .serviceManaged
      }
      try await verify("verify-disabled", "every byte is as it was, without the customer's key")
    }

    private func seal(_ bar: ProgressBar) async throws(KeyCustodyError) -> Bool {
      for item in items {
        let counter = Counter(bar)
        try await store.putFile(item.source, as: item.object, in: notes) { counter.reached($0) }
      }
      return true
    }

    private mutating func verify(_ name: String, _ detail: String) async throws(KeyCustodyError) {
      try await step(name, detail, total) { (tour, bar) async throws(KeyCustodyError) in
        let opened = "\(tour.folder)/opened"
        var isEqual = true
        for item in tour.items {
          let counter = Counter(bar)
          try await tour.store.getFile(item.object, in: tour.notes, to: opened) { counter.reached($0) }
          isEqual = FileTools.areEqual(item.source, opened) && isEqual
        }
        return isEqual
      }
    }

    private func tamper() async throws(KeyCustodyError) -> Bool {
      let sealed = "\(folder)/tampered"
      let source = "\(folder)/small"
      try FileTools.write(Array("a small file, about to be tampered with".utf8), to: source)
      try await notes.sealFile(source, to: sealed, as: "small")
      try FileTools.flipBit(in: sealed)
      let target = "\(folder)/must-not-appear"
      do throws(KeyCustodyError) { try await notes.openFile(sealed, to: target, as: "small") } catch {
        return error.code == .integrityFailure && FileTools.size(target) == 0
      }
      return false
    }

    private mutating func rotate() async throws(KeyCustodyError) -> Bool {
      let caller = try await caller()
      let new = try await custody.vaults.rotateKey(
        custody.vaults.uri(vault, key.name), as: caller, context: context
      ).uri
      try await notes.updateCustomerKey(new, converting: [store])
      try await custody.vaults.updateKey(key, isEnabled: false, as: caller, context: context)
      key = new
      return try await notes.status().key == new
    }

    private func refused() async throws(KeyCustodyError) -> Bool {
      let target = "\(folder)/must-not-appear"
      for item in items {
        do throws(KeyCustodyError) {
          try await store.getFile(item.object, in: notes, to: target)
          return false
        } catch { guard error.code == .denied else { throw error } }
      }
      do throws(KeyCustodyError) {
        _ = try await notes.seal([1], as: "new")
        return false
      } catch { guard error.code == .denied else { throw error } }
      return try await notes.status().health == .suspended(reason: "access-denied") && FileTools.size(target) == 0
    }

    // MARK: Helpers

    private var context: CallContext { CallContext(purpose: .administration, principal: owner) }

    private func caller() async throws(KeyCustodyError) -> Principal {
      let token = try await custody.identities.issueToken(
        for: owner, audience: custody.audience, lifetime: .seconds(60))
      return try await custody.identities.authenticate(.token(token), audience: custody.audience)
    }

    private func grant() async throws(KeyCustodyError) {
      let identity = PrincipalID(tenant: owner.tenant, subject: try SubjectID(notes.id.spelling))
      try await custody.vaults.setRule(
        AccessRule(name: "service", principal: identity, keys: [.get, .wrapKey, .unwrapKey]), in: vault)
    }

    private mutating func step(
      _ name: String, _ detail: String, _ bytes: Int64,
      _ body: (inout Tour, ProgressBar) async throws(KeyCustodyError) -> Bool
    ) async throws(KeyCustodyError) {
      let bar = ProgressBar(name, total: bytes, isShown: isInteractive)
      let start = ContinuousClock.now
      let isRight: Bool
      do throws(KeyCustodyError) { isRight = try await body(&self, bar) } catch {
        bar.finish()
        throw error
      }
      bar.finish()
      emit(name, since: start, bytes: bytes, ok: isRight, detail)
      isWhole = isWhole && isRight
    }

    private func emit(
      _ step: String, since start: ContinuousClock.Instant, bytes: Int64, ok: Bool = true, _ detail: String
    ) {
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      let rate = bytes > 0 ? "\(byteCount(Double(bytes))), \(byteCount(Double(bytes) / max(seconds, 0.000_001)))/s" : ""
      let milliseconds = Int((seconds * 1000).rounded())
      let text =
        "\(ok ? "ok  " : "FAIL")  \(step.padding(to: 16))  \("\(milliseconds) ms".padding(to: 9))  "
        + "\(rate.padding(to: 20))  \(detail)"
      output.print(text, Line(step: step, ok: ok, seconds: seconds, bytes: bytes, detail: detail))
    }
  }
#endif
