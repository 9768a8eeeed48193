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

  /// Uses a folder, which ``prepare()`` or the first value makes when it is missing, for this user alone.
  public init(folder: String) throws(KeyCustodyError) {
    self.folder = folder
    worker = try BlockingWorker()
  }

  /// Seals a small value and keeps it, replacing an earlier one of that name.
  public func put(
    _ bytes: [UInt8], as object: String, in resource: ProtectedResource,
    dataClass: String = ProtectedResource.defaultClass, identifiers: [String: String] = [:]
  ) async throws(KeyCustodyError) {
    let label = Label(object: object, dataClass: try DataClass(dataClass), identifiers: identifiers)
    try await resource.seal(bytes, as: object, dataClass: dataClass, identifiers: identifiers) {
      (sealed) throws(KeyCustodyError) in
      try await prepare(resource.id)
      let place = place(of: object, resource.id)
      try await worker.run { () throws(KeyCustodyError) in
        let temporary = try DurableFile.temporaryName(beside: place.path, random: SystemRandom())
        try DurableFile.create(temporary, with: sealed)
        try place.take(temporary, label)
      }
    }
  }

  /// Opens a value that ``put(_:as:in:dataClass:identifiers:)`` kept.
  public func get(_ object: String, in resource: ProtectedResource) async throws(KeyCustodyError) -> [UInt8] {
    let place = place(of: object, resource.id)
    return try await place.whileChanging(on: worker) { () async throws(KeyCustodyError) in
      let (label, sealed) = try await worker.run { () throws(KeyCustodyError) -> sending (Label, [UInt8]) in
        try place.locked { () throws(KeyCustodyError) in
          try self.naming(object, resource.id) { () throws(KeyCustodyError) in
            (try place.label(), try DurableFile.read(place.path))
          }
        }
      }
      return try await place.opening { () async throws(KeyCustodyError) in
        try await resource.open(
          sealed, as: object, dataClass: label.dataClass.spelling, identifiers: label.identifiers)
      }
    }
  }

  /// Seals a file of any size and keeps it, replacing an earlier one of that name.
  public func putFile(
    _ source: String, as object: String, in resource: ProtectedResource,
    dataClass: String = ProtectedResource.defaultClass, identifiers: [String: String] = [:],
    progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let label = Label(object: object, dataClass: try DataClass(dataClass), identifiers: identifiers)
    try await prepare(resource.id)
    let place = place(of: object, resource.id)
    let temporary = try DurableFile.temporaryName(beside: place.path, random: SystemRandom())
    try await resource.sealFile(
      source, to: temporary, shownAs: place.path, as: object, dataClass: dataClass, identifiers: identifiers,
      progress: progress
    ) { () throws(KeyCustodyError) in
      try await worker.run { () throws(KeyCustodyError) in try place.take(temporary, label) }
    }
  }

  /// Opens a kept object into a file.
  public func getFile(
    _ object: String, in resource: ProtectedResource, to target: String,
    progress: @escaping @Sendable (Int64) -> Void = { _ in }
  ) async throws(KeyCustodyError) {
    let place = place(of: object, resource.id)
    try await place.whileChanging(on: worker) { () async throws(KeyCustodyError) in
      let label = try await worker.run { () throws(KeyCustodyError) -> sending Label in
        try place.locked { () throws(KeyCustodyError) in
          try self.naming(object, resource.id) { () throws(KeyCustodyError) in try place.label() }
        }
      }
      try await place.opening { () async throws(KeyCustodyError) in
        try await resource.openFile(
          place.path, to: target, as: object, dataClass: label.dataClass.spelling, identifiers: label.identifiers,
          progress: progress)
      }
    }
  }

  /// Removes a value or object; one that is not there is no error.
  public func remove(_ object: String, of resource: ResourceID) async throws(KeyCustodyError) {
    let place = place(of: object, resource)
    guard try await worker.run({ () throws(KeyCustodyError) in try DurableFile.mark(of: place.folder) != nil }) else {
      return
    }
    try await worker.run { () throws(KeyCustodyError) in
      try place.locked { () throws(KeyCustodyError) in
        try DurableFile.remove(place.path)
        try DurableFile.remove(place.labelPath)
      }
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
      // A volume that is not mounted must not pass for a store without data: keys are destroyed on that evidence.
      guard try self.isKnown(folder) else {
        throw KeyCustodyError(
          .notFound, .storeUnknown, "Nothing tells that sealed data was ever kept in the folder '\(self.folder)'.",
          remedy:
            "Check its name, and that its file system is mounted. Where a store begins empty, say so: prepare() in a "
            + "program, --without-stored-data on the command line.")
      }
      return try DurableFile.locked(folder) { (isAlone) throws(KeyCustodyError) in
        let names = try DurableFile.list(folder).filter { $0.hasSuffix(".sealed") }.sorted()
        var page: [SealedItem] = []
        for name in names where last.map({ $0 < name }) ?? true {
          guard page.count < limit else { break }
          let place = Place(folder: folder, name: name)
          if isAlone { try DurablePair(place.path, place.labelPath).settle() }
          page.append(try place.item(try place.label()))
        }
        // That nothing is left must be as true after a power cut: somebody may have been stopped before it was.
        if page.isEmpty, try DurableFile.mark(of: folder) != nil { try DurableFile.synchronize(folder) }
        return page
      }
    }
  }

  /// See ``SealedStore``.
  public func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let place = place(of: item.object, renewal.context.resource)
    // A second name, so that what is renewed stays the same while it is; other writers replace the first name.
    let held = try await worker.run { () throws(KeyCustodyError) -> sending (name: String, mark: [Int])? in
      try place.locked { () throws(KeyCustodyError) in
        guard let mark = try DurableFile.mark(of: place.path), try place.item(try place.label()) == item else {
          return nil
        }
        let name = try DurableFile.temporaryName(beside: place.path, random: SystemRandom())
        try DurableFile.hold(place.path, as: name)
        return (name, mark)
      }
    }
    // Written anew or removed meanwhile: leave it, the next pass looks at it again.
    guard let held else { return }
    do throws(KeyCustodyError) {
      switch item.header.kind {
      case .object:
        try await renewal.renewFile(held.name)
      case .record:
        let old = try await worker.run { () throws(KeyCustodyError) -> sending [UInt8] in
          try DurableFile.read(held.name)
        }
        let new = try await renewal.renew(old)
        try await worker.run { () throws(KeyCustodyError) in
          DurableFile.discard(held.name)
          try DurableFile.create(held.name, with: new)
        }
      }
      try await worker.run { () throws(KeyCustodyError) in
        try place.locked { () throws(KeyCustodyError) in
          guard try DurableFile.mark(of: place.path) == held.mark else { return DurableFile.discard(held.name) }
          try DurableFile.place([(held.name, place.path)])
        }
      }
    } catch {
      _ = try? await worker.run { () throws(KeyCustodyError) in DurableFile.discard(held.name) }
      throw error
    }
  }

  // MARK: Paths

  /// The two files of an item.
  private struct Place: Sendable {
    var folder: String
    var name: String
    var path: String { "\(folder)/\(name)" }
    var labelPath: String { path + ".json" }

    func locked<Result>(_ body: () throws(KeyCustodyError) -> Result) throws(KeyCustodyError) -> Result {
      try DurableFile.locked(folder) { (isAlone) throws(KeyCustodyError) in
        // Somebody else may be in the middle of it where nobody is kept out.
        if isAlone { try DurablePair(path, labelPath).settle() }
        return try body()
      }
    }

    func label() throws(KeyCustodyError) -> Label {
      let bytes = try DurableFile.read(labelPath)
      do { return try JSONDecoder().decode(Label.self, from: Data(bytes)) } catch {
        throw FolderSealedStore.damaged(labelPath, "is not what was written there", diagnostic: "\(error)")
      }
    }

    func item(_ label: Label) throws(KeyCustodyError) -> SealedItem {
      guard FolderSealedStore.fileName(label.object) == name else {
        // Renewing by the label's name would renew another file, and come upon this one for ever.
        throw FolderSealedStore.damaged(labelPath, "names another object than the file beside it")
      }
      let (head, size) = try DurableFile.head(path, SealedHeader.length)
      let header: SealedHeader
      do throws(KeyCustodyError) { header = try SealedHeader(parsing: head) } catch {
        throw FolderSealedStore.damaged(path, "is not a sealed value", diagnostic: error.message)
      }
      return SealedItem(
        object: label.object, dataClass: label.dataClass, identifiers: label.identifiers, header: header, size: size)
    }

    /// Says of an item that does not open what can be at fault: the two files, since nobody else named anything.
    func opening<Result>(_ body: () async throws(KeyCustodyError) -> Result) async throws(KeyCustodyError) -> Result {
      do throws(KeyCustodyError) { return try await body() } catch {
        switch error.reason {
        case .notAuthentic:
          throw KeyCustodyError(
            error.code, error.reason, error.message,
            remedy:
              "The file or the label beside it, '\(labelPath)', was altered since it was sealed: restore both from a "
              + "backup.",
            diagnostic: error.diagnostic)
        case .dataClassUnknown:
          throw FolderSealedStore.damaged(
            labelPath, "names a class of data that the resource's profile lacks", diagnostic: error.message)
        default: throw error
        }
      }
    }

    /// Puts a sealed file and its label in their place together.
    func take(_ sealed: String, _ label: Label) throws(KeyCustodyError) {
      let written = sealed + ".json"
      do throws(KeyCustodyError) {
        let bytes: [UInt8]
        do { bytes = Array(try JSONEncoder().encode(label)) } catch {
          throw KeyCustodyError(
            .fault, .internalFault, "A label could not be written as JSON.", diagnostic: "\(error)")
        }
        try DurableFile.create(written, with: bytes)
        try locked { () throws(KeyCustodyError) in
          try DurablePair(path, labelPath).replace(by: sealed, written)
        }
      } catch {
        DurableFile.discard(written)
        DurableFile.discard(sealed)
        throw error
      }
    }

    /// Reads again what was written anew, or converted, while it was read.
    func whileChanging<Result>(
      on worker: BlockingWorker, _ body: () async throws(KeyCustodyError) -> Result
    ) async throws(KeyCustodyError) -> Result {
      for _ in 0..<8 {
        let before = try await worker.run { () throws(KeyCustodyError) in try DurableFile.mark(of: path) }
        do throws(KeyCustodyError) { return try await body() } catch {
          let after = try await worker.run { () throws(KeyCustodyError) in try DurableFile.mark(of: path) }
          guard before != after else { throw error }
        }
      }
      return try await body()
    }
  }

  /// Makes the folder of a store that begins empty; one that is there stays as it is.
  ///
  /// The first value does it too. Until then nothing is known to lie in the folder, and a listing, as a conversion needs
  /// it, is refused: the folder may be one whose file system is not mounted.
  ///
  /// - Throws: `notFound` for a folder whose parent is not there; `denied`; `unavailable`.
  public func prepare() async throws(KeyCustodyError) {
    try await worker.run { () throws(KeyCustodyError) in try makeFolder() }
  }

  private func prepare(_ resource: ResourceID) async throws(KeyCustodyError) {
    let folder = self.folder(of: resource)
    try await worker.run { () throws(KeyCustodyError) in
      // A folder of the resource's own may be all that this process may write in.
      guard try DurableFile.mark(of: folder) == nil else { return }
      try makeFolder()
      try DurableFile.makeFolder(folder)
    }
  }

  private func makeFolder() throws(KeyCustodyError) {
    try DurableFile.makeFolder(folder)
    try DurableFile.makeEmpty(markPath)
  }

  /// Whether the folder is one of sealed data: a resource's is there, or the mark, or what was kept before there were marks.
  private func isKnown(_ resource: String) throws(KeyCustodyError) -> Bool {
    for path in [resource, markPath] where try DurableFile.mark(of: path) != nil { return true }
    return try DurableFile.list(folder).contains { name in
      guard !name.hasPrefix("."), let inside = try? DurableFile.list("\(folder)/\(name)") else { return false }
      return inside.contains { $0.hasSuffix(".sealed") }
    }
  }

  /// Tells this folder from the empty one that shows where a file system is not mounted.
  private var markPath: String { "\(folder)/.key-custody" }

  /// An item that is not there is told by its own name, not by those of its files.
  private func naming<Result>(
    _ object: String, _ resource: ResourceID, _ body: () throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result {
    do throws(KeyCustodyError) { return try body() } catch {
      guard error.code == .notFound else { throw error }
      throw KeyCustodyError(
        error.code, error.reason, "The folder '\(folder)' keeps no item '\(shown(object))' of '\(resource)'.",
        remedy: "Check the names of the folder, the object and the resource, and that its file system is mounted.",
        diagnostic: error.diagnostic)
    }
  }

  private static func damaged(_ path: String, _ why: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The file '\(path)' \(why).",
      remedy: "Restore it from a backup, or move it and its companion out of the folder.", diagnostic: diagnostic)
  }

  private func folder(of resource: ResourceID) -> String { "\(folder)/\(resource.folded)" }
  private func place(of object: String, _ resource: ResourceID) -> Place {
    Place(folder: folder(of: resource), name: Self.fileName(object))
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

extension KeyCustodyError.Reason {
  /// A place for sealed data that is not there.
  public static let storeUnknown = Self("store-unknown")
}
