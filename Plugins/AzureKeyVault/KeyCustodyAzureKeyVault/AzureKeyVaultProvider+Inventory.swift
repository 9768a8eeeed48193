public import KeyCustody

/// One version of a key, as lists have it.
struct KeyVersionItem: Sendable {
  let version: String
  let created: Int64
  let isEnabled: Bool
  let mark: String?

  init?(_ item: JSON) {
    guard let version = Naming.parts(of: item["kid"]?.string)?.version else { return nil }
    self.version = String(version)
    created = item["attributes"]?["created"]?.integer ?? 0
    isEnabled = item["attributes"]?["enabled"]?.bool ?? true
    mark = item["tags"]?["kc-mark"]?.string
  }
}

extension AzureKeyVaultProvider: KeyInventory {
  /// The versions whose keys are in the vault under this provider's prefix.
  ///
  /// Every call reads the vault's whole list, 25 keys a request, since a vault promises no order.
  public func versions(
    after version: KeyVersionID?, limit: Int
  ) async throws(KeyCustodyError) -> [KeyVersionID] {
    try await run(nil) { (deadline) throws(KeyCustodyError) in
      let prefix = self.settings.settings.prefix
      var found: Set<KeyVersionID> = []
      for item in try await self.items(at: "/keys", deadline) {
        guard let parts = Naming.parts(of: item["kid"]?.string),
          let listed = Naming.version(parts.name, prefix: prefix)
        else { continue }
        if version.map({ listed > $0 }) ?? true { found.insert(listed) }
      }
      return Array(found.sorted().prefix(max(0, limit)))
    }
  }

  /// The versions that the vault has of a key, the one that counts first; none where there is no such key.
  func versions(of version: KeyVersionID, _ deadline: Duration) async throws(KeyCustodyError) -> [KeyVersionItem] {
    let items: [JSON]
    do throws(KeyCustodyError) {
      items = try await self.items(at: "/keys/\(name(of: version))/versions", deadline)
    } catch {
      guard error.code == .notFound else { throw error }
      return []
    }
    // Of one second, those that nobody has switched off come first.
    return items.compactMap { KeyVersionItem($0) }.sorted { left, right in
      (left.created, left.isEnabled ? 0 : 1, left.version) < (right.created, right.isEnabled ? 0 : 1, right.version)
    }
  }

  /// The most pages that are read of one list: 100,000 entries.
  private static let mostPages = 4000

  /// All entries of a list.
  private func items(at path: String, _ deadline: Duration) async throws(KeyCustodyError) -> [JSON] {
    var items: [JSON] = []
    var query = "maxresults=25"
    for _ in 0..<Self.mostPages {
      let answer = try await vault.ask(VaultAsk(method: .get, path: path, query: query), by: deadline)
      guard answer.isGood else { throw answer.error(settings.vault.authority, nil) }
      guard let page = answer.json?["value"]?.array else { throw badList("has no entries") }
      items += page
      guard let next = answer.json?["nextLink"]?.string, !next.isEmpty else { return items }
      guard let found = self.query(of: next, path) else { throw badList("goes on at another place") }
      query = found
    }
    throw badList("does not end within \(Self.mostPages) pages")
  }

  /// The query of a list's next page, when that is at the same place; without the wire's version.
  private func query(of link: String, _ path: String) -> String? {
    let halves = link.split(separator: "?", maxSplits: 1)
    guard halves.count == 2, link.utf8.count <= 8192, let address = WebAddress(String(halves[0])),
      address.isProtected, address.authority == settings.vault.authority,
      address.path.lowercased() == path.lowercased(),
      halves[1].utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "#") })
    else { return nil }
    return halves[1].split(separator: "&").filter { !$0.lowercased().hasPrefix("api-version=") }.joined(separator: "&")
  }

  private func badList(_ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .badAnswer, "A list of the vault '\(settings.vault.authority)' \(what).",
      remedy: "Check 'vault': it must be a vault's own address.")
  }
}
