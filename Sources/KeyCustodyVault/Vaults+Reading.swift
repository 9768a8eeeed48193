public import KeyCustody

/// What there is, for those who may see it.
extension Vaults {
  /// A key with its versions.
  public func key(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyRecord {
    try await perform(.get, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let record = try await self.living(uri)
      guard uri.version.map({ wanted in record.versions.contains { $0.version == wanted } }) ?? true else {
        throw VaultErrors.keyUnknown(uri)
      }
      return (record, uri)
    }
  }

  /// One version of a key (without one in the address: the newest), whether it is enabled or not.
  ///
  /// - Throws: `denied`, `notFound`, `disabled` (soft-deleted).
  public func keyVersion(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await perform(.get, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let record = try await self.living(uri)
      guard let version = uri.version.map({ wanted in record.versions.first { $0.version == wanted } }) ?? record.newest
      else { throw VaultErrors.keyUnknown(uri) }
      return (self.bundle(record, version, in: admission.vault), uri.with(version: version.version))
    }
  }

  /// The keys of a vault, soft-deleted ones included.
  public func keys(
    in vault: VaultName, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> [KeyRecord] {
    let any = uri(vault, try KeyName("any"))
    return try await perform(.list, on: any, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let all = try await self.keys.all(prefix: "vaults/\(vault.folded)/keys/").map(\.value)
      // Without those whose making was cut off before the first version: there is nothing of them yet.
      return (all.filter { !$0.versions.isEmpty || $0.deletion != nil }, any)
    }
  }

  /// The keys of a vault, each by its newest version, ordered by name.
  ///
  /// - Parameters:
  ///   - token: ``Page/next`` of the page before.
  ///   - limit: 1 to 25, which it is unless told otherwise.
  public func listKeys(
    in vault: VaultName, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<KeyBundle> {
    let target = collection("keys", in: vault)
    return try await perform(.key(.list), on: target, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let page = try await self.page(self.keys, "keys", in: vault, after: token, limit: limit) { record in
        record.deletion == nil ? record.newest.map { self.bundle(record, $0, in: admission.vault) } : nil
      }
      return (page, target)
    }
  }

  /// The soft-deleted keys of a vault, ordered by name.
  public func listDeletedKeys(
    in vault: VaultName, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<DeletedKeyBundle> {
    let target = collection("deletedkeys", in: vault)
    return try await perform(.key(.list), on: target, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let page = try await self.page(self.keys, "keys", in: vault, after: token, limit: limit) { record in
        self.deletedBundle(record, in: admission.vault)
      }
      return (page, target)
    }
  }

  /// The versions of a key, in an order of their own; none of a key that is not there or deleted.
  public func listVersions(
    of uri: KeyURI, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<KeyBundle> {
    try await perform(.list, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let record = try await self.keys.read(try Self.path(uri)).flatMap { $0.deletion == nil ? $0 : nil }
      let page = try PageToken.page(
        record?.versions ?? [], by: \.version.description, of: "versions/\(uri.name.folded)", after: token, limit: limit
      ) { version in record.map { self.bundle($0, version, in: admission.vault) } }
      return (page, uri)
    }
  }

  /// A soft-deleted key.
  ///
  /// - Throws: `denied`; `notFound` for a key that is not deleted.
  public func deletedKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> DeletedKeyBundle {
    try await perform(.get, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      guard let record = try await self.keys.read(try Self.path(uri)),
        let deleted = self.deletedBundle(record, in: admission.vault)
      else { throw VaultErrors.keyUnknown(uri.with(version: nil)) }
      return (deleted, uri)
    }
  }

  func deletedBundle(_ record: KeyRecord, in vault: VaultDefinition) -> DeletedKeyBundle? {
    guard let deletion = record.deletion, let version = record.newest ?? record.allVersions.last else { return nil }
    return DeletedKeyBundle(key: bundle(record, version, in: vault), deletion: deletion)
  }

  func collection(_ path: String, in vault: VaultName) -> CollectionAddress {
    CollectionAddress(authority: "\(vault.folded).\(domain)", vault: vault, path: path)
  }

  /// A page of the records in a folder of a vault that `item` makes something of.
  func page<Value, Item>(
    _ view: RecordView<Value>, _ folder: String, in vault: VaultName, after token: String?, limit: Int?,
    _ item: (Value) -> Item?
  ) async throws(KeyCustodyError) -> Page<Item> {
    let size = try PageToken.size(limit)
    let prefix = "vaults/\(vault.folded)/\(folder)/"
    var last: RecordKey?
    if let name = try PageToken.read(token, of: folder) { last = try RecordKey(prefix + name) }
    var page = Page<Item>(items: [], next: nil)
    while true {
      let found = try await view.page(prefix: prefix, after: last, limit: PageToken.largestPage + 1)
      for (key, value) in found {
        if page.items.count == size, let last {
          page.next = PageToken.make(folder, after: String(last.description.dropFirst(prefix.count)))
          return page
        }
        last = key
        if let item = item(value) { page.items.append(item) }
      }
      if found.count <= PageToken.largestPage { return page }
    }
  }
}
