public import KeyCustody

/// One version of a key as a caller sees it: everything but its material.
public struct KeyBundle: Sendable, Hashable, Codable {
  /// Its address with the version, the name spelled as it was first given.
  public var uri: KeyURI
  /// Type and size.
  public var type: KeyType
  /// What it was made for.
  public var role: KeyRole
  /// Its attributes, and the public half.
  public var attributes: KeyVersionRecord
  /// What it may be used for.
  public var operations: [KeyUse]
  /// How it can be brought back once deleted.
  public var recovery: RecoveryLevel
  /// Whether it can be backed up.
  public var isBackupable: Bool
  /// Never: no interface gives out key material.
  public var isExportable: Bool { false }
}

/// A deleted key as a caller sees it.
public struct DeletedKeyBundle: Sendable, Hashable, Codable {
  /// The key, by its newest version.
  public var key: KeyBundle
  /// When it was deleted, and when it will be gone.
  public var deletion: KeyRecord.Deletion
}

/// How something deleted can be brought back, by its name on the wire.
public struct RecoveryLevel: Sendable, Hashable, Codable {
  /// How many days it is kept.
  public var days: Int
  /// Whether it can be destroyed before.
  public var isPurgeable: Bool

  init(_ vault: VaultDefinition) {
    days = vault.softDeleteDays
    isPurgeable = !vault.purgeProtection
  }

  /// `Recoverable+Purgeable`, for instance.
  public var name: String { (days < 90 ? "Customized" : "") + "Recoverable" + (isPurgeable ? "+Purgeable" : "") }
}

/// A part of a list, and how to go on.
public struct Page<Item: Sendable>: Sendable {
  /// What was found, at most 25.
  public var items: [Item]
  /// Asks for what comes after; `nil` at the end.
  ///
  /// Opaque, and fit for an address. It names where the page ended: whatever is there from the first page to the last
  /// is listed once, whatever else comes or goes.
  public var next: String?
}

extension Page: Equatable where Item: Equatable {}

/// The tokens by which lists go on.
enum PageToken {
  static let largestPage = 25

  static func make(_ list: String, after last: String) -> String { [UInt8](utf8: "1 \(list) \(last)").base64URL }

  /// Where a list goes on.
  static func read(_ token: String?, of list: String) throws(KeyCustodyError) -> String? {
    guard let token else { return nil }
    let parts = [UInt8](base64URL: token).map { String(decoding: $0, as: UTF8.self).split(separator: " ") } ?? []
    guard parts.count == 3, parts[0] == "1", parts[1] == list else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "That does not continue this list.",
        remedy: "Give the token of the page before as it was, or begin again without one.")
    }
    return String(parts[2])
  }

  /// A page of what is in memory, in the order of names that say nothing: what comes later moves nothing listed.
  static func page<Value, Item>(
    _ values: [Value], by name: (Value) -> String, of list: String, after token: String?, limit: Int?,
    _ item: (Value) -> Item?
  ) throws(KeyCustodyError) -> Page<Item> {
    let size = try size(limit)
    let last = try read(token, of: list)
    let rest = values.map { (name: name($0), value: $0) }.sorted { $0.name < $1.name }
      .filter { value in last.map { $0 < value.name } ?? true }
    let next = rest.count > size ? make(list, after: rest[size - 1].name) : nil
    return Page(items: rest.prefix(size).compactMap { item($0.value) }, next: next)
  }

  static func size(_ limit: Int?) throws(KeyCustodyError) -> Int {
    guard (1...largestPage).contains(limit ?? largestPage) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A page has 1 to \(largestPage) entries.", remedy: "Ask for fewer and go on.")
    }
    return limit ?? largestPage
  }
}

extension Vaults {
  func bundle(_ record: KeyRecord, _ version: KeyVersionRecord, in vault: VaultDefinition) -> KeyBundle {
    KeyBundle(
      uri: uri(vault.name, record.name, version: version.version), type: record.type(of: version),
      role: record.role(of: version), attributes: version, operations: record.operations(of: version),
      recovery: RecoveryLevel(vault), isBackupable: record.isBackupable)
  }
}
