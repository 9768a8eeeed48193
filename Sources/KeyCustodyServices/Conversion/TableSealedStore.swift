public import KeyCustody
public import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Sealed values as rows of a table: of a database, or of a service's own storage.
///
/// A row holds the sealed form and, beside it in clear, the value's class and identifiers; changes to either are found on
/// opening. A value has at most 1 MiB; ``FolderSealedStore`` takes objects of any size.
public struct TableSealedStore: SealedStore {
  /// What is kept in clear beside the sealed bytes.
  private struct Label: Codable {
    var dataClass: DataClass
    var identifiers: [String: String]
  }

  private let table: any SealedTable
  private static var largestValue: Int { 1 << 20 }

  /// Uses a table, which whoever opened it closes.
  public init(_ table: any SealedTable) { self.table = table }

  /// Seals a value of at most 1 MiB and keeps it, replacing an earlier one of that name.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) for a larger one; what sealing and the table throw.
  public func put(
    _ bytes: [UInt8], as object: String, in resource: ProtectedResource,
    dataClass: String = ProtectedResource.defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) {
    guard bytes.count <= Self.largestValue else {
      throw SealedTableLimits.tooLarge("The value '\(shown(object))'", bytes.count, Self.largestValue)
    }
    let label = try Self.written(Label(dataClass: try DataClass(dataClass), identifiers: identifiers))
    try await resource.seal(bytes, as: object, dataClass: dataClass, identifiers: identifiers) {
      (sealed) throws(KeyCustodyError) in
      try await table.put(sealed, label: label, as: object, of: resource.id)
    }
  }

  /// Opens a value that ``put(_:as:in:dataClass:identifiers:)`` kept.
  ///
  /// - Throws: `notFound`; `integrityFailure` for what was altered; what opening and the table throw.
  public func get(_ object: String, in resource: ProtectedResource) async throws(KeyCustodyError) -> [UInt8] {
    var found = try await value(object, of: resource.id)
    for _ in 0..<8 {
      do throws(KeyCustodyError) { return try await open(found, object, in: resource) } catch {
        // What was written anew, or converted, while it was opened, may have lost its root key: the newer form opens.
        let newer = try await value(object, of: resource.id)
        guard newer.revision != found.revision else { throw error }
        found = newer
      }
    }
    return try await open(found, object, in: resource)
  }

  /// Removes a value; one that is not there is no error.
  public func remove(_ object: String, of resource: ResourceID) async throws(KeyCustodyError) {
    try await table.remove(object, of: resource)
  }

  /// Removes all values of a resource: for one that was deleted.
  public func removeAll(of resource: ResourceID) async throws(KeyCustodyError) {
    try await table.removeAll(of: resource)
  }

  /// See ``SealedStore``.
  ///
  /// Ordered by the bytes of the names.
  public func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await items(of: resource, after: object, excluding: nil, limit)
  }

  /// See ``SealedStore``.
  ///
  /// A table with an index by root keys does not read those that are left out.
  public func items(
    of resource: ResourceID, after object: String?, excluding rootKey: RootKeyID, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await items(of: resource, after: object, excluding: rootKey.bytes, limit)
  }

  private func items(
    of resource: ResourceID, after object: String?, excluding rootKey: [UInt8]?, _ limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    var items: [SealedItem] = []
    for row in try await table.page(of: resource, after: object, excluding: rootKey, limit: limit) {
      items.append(try item(row))
    }
    return items
  }

  /// See ``SealedStore``.
  public func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let resource = renewal.context.resource
    guard let found = try await table.read(item.object, of: resource) else { return }
    let row = SealedRow(name: item.object, revision: found.revision, label: found.label, sealed: found.sealed)
    // Written anew or removed meanwhile: leave it, the next pass looks at it again.
    guard try self.item(row) == item else { return }
    let renewed = try await renewal.renew(found.sealed)
    _ = try await table.replace(renewed, as: item.object, of: resource, expecting: found.revision)
  }

  // MARK: Rows

  private func value(_ object: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent {
    guard let found = try await table.read(object, of: resource) else {
      throw KeyCustodyError(
        .notFound, .unreachable, "In \(table.place) there is no item '\(shown(object))' of '\(resource)'.",
        remedy: "Check the names of the object and the resource, and which storage was opened.")
    }
    return found
  }

  private func open(
    _ found: SealedContent, _ object: String, in resource: ProtectedResource
  ) async throws(KeyCustodyError) -> [UInt8] {
    let label = try label(found.label, of: object)
    do throws(KeyCustodyError) {
      return try await resource.open(
        found.sealed, as: object, dataClass: label.dataClass.spelling, identifiers: label.identifiers)
    } catch {
      switch error.reason {
      case .notAuthentic, .truncated:
        throw KeyCustodyError(
          error.code, error.reason, "The item '\(shown(object))' in \(table.place) does not open. \(error.message)",
          remedy: "It or its label was altered since it was sealed: restore both from a backup.",
          diagnostic: error.diagnostic)
      case .dataClassUnknown:
        throw damaged(object, "names a class of data that the resource's profile lacks", error.message)
      default: throw error
      }
    }
  }

  private func item(_ row: SealedRow) throws(KeyCustodyError) -> SealedItem {
    let label = try label(row.label, of: row.name)
    let header: SealedHeader
    do throws(KeyCustodyError) { header = try SealedHeader(parsing: row.head) } catch {
      throw damaged(row.name, "is not a sealed value", error.message)
    }
    return SealedItem(
      object: row.name, dataClass: label.dataClass, identifiers: label.identifiers, header: header,
      size: Int64(row.size))
  }

  private func label(_ bytes: [UInt8], of object: String) throws(KeyCustodyError) -> Label {
    do { return try JSONDecoder().decode(Label.self, from: Data(bytes)) } catch {
      throw damaged(object, "has a label that is not what was written there", "\(error)")
    }
  }

  private static func written(_ label: Label) throws(KeyCustodyError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return Array(try encoder.encode(label)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A label could not be written as JSON.", diagnostic: "\(error)")
    }
  }

  private func damaged(_ object: String, _ why: String, _ diagnostic: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The item '\(shown(object))' in \(table.place) \(why).",
      remedy: "Restore it from a backup, or remove it.", diagnostic: diagnostic)
  }
}
