public import KeyCustody
import KeyCustodyCrypto
import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Sealed values and objects as files in a folder: one sealed file each, and beside it a small JSON file with what is
/// kept in clear (the object's name, its class, its identifiers).
///
/// Changes to either are found on opening.
public struct FolderSealedStore: SealedStore {
  /// What is kept in clear beside a sealed file.
  private struct Label: Codable {
    var object: String
    var dataClass: DataClass
    var identifiers: [String: String]
  }

  private let folder: String
  private let worker: BlockingWorker

  /// Uses a folder, which is made when it is missing, for this user alone.
  public init(folder: String) throws(KeyCustodyError) {
    self.folder = folder
    worker = try BlockingWorker()
  }

  /// Seals a small value and keeps it, replacing an earlier one of that name.
  public func put(
    _ bytes: [UInt8], as object: String, in resource: ProtectedResource,
    dataClass: String = ProtectedResource.defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) {
    let sealed = try await resource.seal(bytes, as: object, dataClass: dataClass, identifiers: identifiers)
    let path = try await prepare(object, dataClass, identifiers, resource.id)
    try await worker.run { () throws(KeyCustodyError) in try DurableFile.replace(path, with: sealed) }
  }

  /// Opens a value that ``put(_:as:in:dataClass:identifiers:)`` kept.
  public func get(_ object: String, in resource: ProtectedResource) async throws(KeyCustodyError) -> [UInt8] {
    let path = self.path(of: object, resource.id)
    let (label, sealed) = try await worker.run { () throws(KeyCustodyError) -> sending (Label, [UInt8]) in
      (try Self.label(at: path), try DurableFile.read(path))
    }
    return try await resource.open(
      sealed, as: object, dataClass: label.dataClass.spelling, identifiers: label.identifiers)
  }

  /// Seals a file of any size and keeps it, replacing an earlier one of that name.
  public func putFile(
    _ source: String, as object: String, in resource: ProtectedResource,
    dataClass: String = ProtectedResource.defaultClass, identifiers: [String: String] = [:],
    progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let path = try await prepare(object, dataClass, identifiers, resource.id)
    try await resource.sealFile(
      source, to: path, as: object, dataClass: dataClass, identifiers: identifiers, progress: progress)
  }

  /// Opens a kept object into a file.
  public func getFile(
    _ object: String, in resource: ProtectedResource, to target: String,
    progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let path = self.path(of: object, resource.id)
    let label = try await worker.run { () throws(KeyCustodyError) -> sending Label in try Self.label(at: path) }
    try await resource.openFile(
      path, to: target, as: object, dataClass: label.dataClass.spelling, identifiers: label.identifiers,
      progress: progress)
  }

  /// Removes a value or object; one that is not there is no error.
  public func remove(_ object: String, of resource: ResourceID) async throws(KeyCustodyError) {
    let path = self.path(of: object, resource)
    try await worker.run { () throws(KeyCustodyError) in
      try DurableFile.remove(path)
      try DurableFile.remove(path + ".json")
    }
  }

  /// See ``SealedStore``.
  ///
  /// Ordered by file name.
  public func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    let last = object.map(Self.fileName)
    let folder = self.folder(of: resource)
    return try await worker.run { () throws(KeyCustodyError) -> sending [SealedItem] in
      let names = try DurableFile.list(folder).filter { $0.hasSuffix(".sealed") }.sorted()
      var page: [SealedItem] = []
      for name in names where last.map({ $0 < name }) ?? true {
        guard page.count < limit else { break }
        let path = "\(folder)/\(name)"
        let label = try Self.label(at: path)
        guard Self.fileName(label.object) == name else {
          // Renewing by the label's name would renew another file, and come upon this one for ever.
          throw Self.damaged("\(path).json", "names another object than the file beside it")
        }
        let (head, size) = try DurableFile.head(path, SealedHeader.length)
        let header: SealedHeader
        do throws(KeyCustodyError) { header = try SealedHeader(parsing: head) } catch {
          throw Self.damaged(path, "is not a sealed value", diagnostic: error.message)
        }
        page.append(
          SealedItem(
            object: label.object, dataClass: label.dataClass, identifiers: label.identifiers,
            header: header, size: size))
      }
      return page
    }
  }

  /// See ``SealedStore``.
  public func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let path = self.path(of: item.object, renewal.context.resource)
    switch item.header.kind {
    case .object:
      try await renewal.renewFile(path)
    case .record:
      let old = try await worker.run { () throws(KeyCustodyError) -> sending [UInt8] in try DurableFile.read(path) }
      let new = try await renewal.renew(old)
      try await worker.run { () throws(KeyCustodyError) in
        // Written anew meanwhile: leave it, the next pass looks at it again.
        if try DurableFile.read(path) == old { try DurableFile.replace(path, with: new) }
      }
    }
  }

  // MARK: Paths

  private func prepare(
    _ object: String, _ dataClass: String, _ identifiers: [String: String], _ resource: ResourceID
  ) async throws(KeyCustodyError) -> String {
    let label = Label(object: object, dataClass: try DataClass(dataClass), identifiers: identifiers)
    let path = self.path(of: object, resource)
    let folder = self.folder(of: resource)
    let bytes: [UInt8]
    do { bytes = Array(try JSONEncoder().encode(label)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A label could not be written as JSON.", diagnostic: "\(error)")
    }
    try await worker.run { () throws(KeyCustodyError) in
      try DurableFile.makeFolder(self.folder)
      try DurableFile.makeFolder(folder)
      try DurableFile.replace(path + ".json", with: bytes)
    }
    return path
  }

  private static func label(at path: String) throws(KeyCustodyError) -> Label {
    let bytes = try DurableFile.read(path + ".json")
    do { return try JSONDecoder().decode(Label.self, from: Data(bytes)) } catch {
      throw damaged("\(path).json", "is not what was written there", diagnostic: "\(error)")
    }
  }

  private static func damaged(_ path: String, _ why: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The file '\(path)' \(why).",
      remedy: "Restore it from a backup, or move it and its companion out of the folder.", diagnostic: diagnostic)
  }

  private func folder(of resource: ResourceID) -> String { "\(folder)/\(resource.folded)" }
  private func path(of object: String, _ resource: ResourceID) -> String {
    "\(folder(of: resource))/\(Self.fileName(object))"
  }

  /// The object's name with other bytes than letters, digits, `.`, `_` and `-` written as `%XX`; long names by hash.
  private static func fileName(_ object: String) -> String {
    let escaped = object.utf8.map { byte in
      byte.isASCIIAlphanumeric || byte == 0x2d || byte == 0x5f || (byte == 0x2e && object.first != ".")
        ? String(UnicodeScalar(byte)) : "%" + [byte].hexadecimal
    }.joined()
    guard escaped.utf8.count > 200 else { return escaped + ".sealed" }
    let hash = (try? Hashing.sha256(Array(object.utf8)).hexadecimal) ?? ""
    return "\(escaped.prefix(100))~\(hash).sealed"
  }
}
