/// Where sealed records are kept as rows: all that a database, or a service's own storage, must offer.
///
/// `TableSealedStore` (module `KeyCustodyServices`) seals, opens and converts on top of it. A table sees names, labels and
/// sealed bytes, never plaintext.
///
/// ## What must hold
/// - A row is changed as a whole: whoever reads it finds sealed bytes, label and revision that were written together, also
///   after a crash. What was answered without an error lasts.
/// - Each content of a row has a revision of its own, which never comes again for that name, not after a removal either.
/// - Names are told apart, and ordered, by the bytes of their UTF-8; any text of 1 to 512 bytes is one. Resources are told
///   apart by ``Identifier/folded``.
/// - A damaged row is `integrityFailure` (`damaged`) for whoever reads or lists it, and never left out silently: root keys
///   are destroyed on the evidence of a listing. For the same reason storage that is not there is an error, not empty.
///
/// Any number of tasks call it at once. A call that blocks does so on a ``DedicatedThread`` or ``BlockingWorker``. The
/// behaviours of `SealedTableConformance` (module `KeyCustodyTesting`) are this contract, ready to run.
public protocol SealedTable: Sendable {
  /// What it is and where, in words for messages: `the database '/srv/data.sqlite'`.
  var place: String { get }

  /// Up to `limit` rows of a resource after the name given, in order; none when there are no more.
  ///
  /// - Parameter rootKey: rows whose head names this root key (8 bytes) may be left out; a table that can't find the
  ///   others by an index gives them all.
  func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedRow]

  /// A row with its sealed bytes; `nil` when there is none.
  func read(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent?

  /// Writes a row, in place of an earlier one of that name.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) over the ``SealedTableLimits``; `timeout` where it may or may not have been
  ///   done; for any other error nothing was changed.
  func put(
    _ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID
  ) async throws(KeyCustodyError)

  /// Writes other sealed bytes beside the label of a row, if the row still is at that revision.
  ///
  /// - Returns: whether that was done.
  /// - Throws: as ``put(_:label:as:of:)``.
  func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) async throws(KeyCustodyError) -> Bool

  /// Removes a row; one that is not there is no error.
  func remove(_ name: String, of resource: ResourceID) async throws(KeyCustodyError)

  /// Removes every row of a resource, in as many steps as it takes.
  ///
  /// One after the other, unless a table does it better.
  func removeAll(of resource: ResourceID) async throws(KeyCustodyError)

  /// Ends all use: calls afterwards are `unavailable` (`closed`).
  func close() async
}

extension SealedTable {
  /// Removes every row of a resource, one after the other.
  public func removeAll(of resource: ResourceID) async throws(KeyCustodyError) {
    while case let page = try await page(of: resource, after: nil, excluding: nil, limit: 100), !page.isEmpty {
      for row in page { try await remove(row.name, of: resource) }
    }
  }
}

/// A row of a ``SealedTable``, as far as it is read in listings: all but the sealed bytes.
public struct SealedRow: Sendable, Hashable {
  /// Its name within the resource.
  public var name: String
  /// Tells this content of the row from every other that it had or will have.
  public var revision: UInt64
  /// What is kept in clear beside the sealed bytes.
  public var label: [UInt8]
  /// The first 12 bytes of the sealed form, of which the last eight name its root key.
  public var head: [UInt8]
  /// The size of the sealed form, in bytes.
  public var size: Int

  /// A row as it is found.
  public init(name: String, revision: UInt64, label: [UInt8], head: [UInt8], size: Int) {
    self.name = name
    self.revision = revision
    self.label = label
    self.head = head
    self.size = size
  }

  /// The row that these sealed bytes make.
  public init(name: String, revision: UInt64, label: [UInt8], sealed: [UInt8]) {
    self.init(
      name: name, revision: revision, label: label, head: Array(sealed.prefix(SealedTableLimits.headSize)),
      size: sealed.count)
  }

  /// The root key that the head names.
  public var rootKey: [UInt8] { Array(head.dropFirst(4)) }
}

/// The content of a row of a ``SealedTable``.
public struct SealedContent: Sendable, Hashable {
  /// Tells this content from every other that the row had or will have.
  public var revision: UInt64
  /// What is kept in clear beside the sealed bytes.
  public var label: [UInt8]
  /// The sealed bytes.
  public var sealed: [UInt8]

  /// A content as it is found.
  public init(revision: UInt64, label: [UInt8], sealed: [UInt8]) {
    self.revision = revision
    self.label = label
    self.sealed = sealed
  }
}

/// What every table takes, and no table more of.
public enum SealedTableLimits {
  /// The longest name, in bytes of UTF-8.
  public static let nameSize = 512
  /// The largest label, in bytes.
  public static let labelSize = 64 << 10
  /// The largest sealed form, in bytes: a record of 1 MiB with its two layers, and room to spare.
  public static let sealedSize = 1 << 20 + 1024
  /// What a sealed form begins with, in bytes.
  public static let headSize = 12
  /// The most rows of a page.
  public static let pageSize = 1000

  /// Refuses what no table takes.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  public static func check(
    name: String, label: [UInt8] = [], sealed: [UInt8]
  ) throws(KeyCustodyError) {
    guard (1...nameSize).contains(name.utf8.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A name has 1 to \(nameSize) bytes, not \(name.utf8.count).",
        remedy: "Give one within these bounds: a letter of English is one byte, others are up to four.")
    }
    guard label.count <= labelSize else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "What is kept in clear has \(labelSize) bytes at most, not \(label.count).",
        remedy: "Give fewer or shorter identifiers.")
    }
    guard sealed.count <= sealedSize else { throw tooLarge("A sealed form", sealed.count, sealedSize) }
    guard sealed.count > headSize else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "These \(sealed.count) bytes are no sealed form.", remedy: "Seal what is to be kept."
      )
    }
  }

  /// What is said of a value that is too large for a row.
  package static func tooLarge(_ what: String, _ size: Int, _ limit: Int) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongSize, "\(what) of \(size) bytes is over a table's limit of \(limit).",
      remedy: "Keep it as a sealed object, which may be of any size: FolderSealedStore.putFile.")
  }
}
