public import KeyCustody

/// A table of sealed records to run the behaviours of ``SealedTableConformance`` on.
public struct SealedTableSubject: Sendable {
  /// Makes an empty backend of its own for one behaviour, to be opened in the environment given.
  public var make: @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any SealedTable>

  /// A subject.
  public init(make: @escaping @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any SealedTable>) {
    self.make = make
  }
}

typealias TableBehavior = ConformanceBehavior<SealedTableSubject>

extension ConformanceBehavior where Subject == SealedTableSubject {
  /// A behaviour that opens an empty table, tries it, and closes whatever is open at the end.
  init(_ name: String, _ body: @escaping @Sendable (TableTrial) async throws -> Void) {
    self.init(name, "SealedTable") { subject in
      let trial = try await TableTrial(subject)
      do {
        try await body(trial)
      } catch {
        await trial.bench.finish()
        throw error
      }
      await trial.bench.finish()
      return .passed
    }
  }
}

/// The contract of `SealedTable` as named behaviours.
///
/// A table conforms when none of them is violated. Those that do not concern a backend say why not.
public enum SealedTableConformance {
  /// Every behaviour.
  public static let all: [ConformanceBehavior<SealedTableSubject>] = rows + listing + concurrency + random
}

/// An open table in the hands of a behaviour, and the steps that many behaviours take.
struct TableTrial: Sendable {
  let bench: Bench<any SealedTable>
  let table: any SealedTable
  let resource: ResourceID

  init(_ subject: SealedTableSubject) async throws {
    bench = try await Bench(subject.make) { await $0.close() }
    table = try await bench.open()
    resource = try ResourceID("notes")
  }

  private init(_ bench: Bench<any SealedTable>, _ table: any SealedTable, _ resource: ResourceID) {
    self.bench = bench
    self.table = table
    self.resource = resource
  }

  /// The same backend, closed and opened again.
  func reopened() async throws -> TableTrial { TableTrial(bench, try await bench.reopen(), resource) }

  /// The rows of another resource.
  func of(_ name: String) throws -> TableTrial { TableTrial(bench, table, try ResourceID(name)) }

  /// What looks as if it were sealed under a root key.
  static func sealed(_ content: [UInt8], under key: UInt8 = 1) -> [UInt8] {
    Array("KCR".utf8) + [1] + rootKey(key) + content
  }

  /// The name of a root key.
  static func rootKey(_ key: UInt8) -> [UInt8] { [UInt8](repeating: key, count: 8) }

  // MARK: Steps that must work

  func put(_ name: String, _ content: [UInt8] = [0], label: [UInt8] = [], under key: UInt8 = 1) async throws {
    try await working("Writing '\(name.debugDescription)'") { () async throws(KeyCustodyError) in
      try await table.put(Self.sealed(content, under: key), label: label, as: name, of: resource)
    }
  }

  func read(_ name: String) async throws -> SealedContent? {
    try await working("Reading '\(name.debugDescription)'") { () async throws(KeyCustodyError) in
      try await table.read(name, of: resource)
    }
  }

  /// A value that must be there.
  func found(_ name: String) async throws -> SealedContent {
    try unwrapped(try await read(name), "'\(name.debugDescription)' is not there.")
  }

  func replace(
    _ name: String, at revision: UInt64, _ content: [UInt8], under key: UInt8 = 2
  ) async throws -> Bool {
    try await working("Replacing '\(name.debugDescription)'") { () async throws(KeyCustodyError) in
      try await table.replace(Self.sealed(content, under: key), as: name, of: resource, expecting: revision)
    }
  }

  func remove(_ name: String) async throws {
    try await working("Removing '\(name.debugDescription)'") { () async throws(KeyCustodyError) in
      try await table.remove(name, of: resource)
    }
  }

  func page(after name: String? = nil, excluding key: UInt8? = nil, limit: Int = 1000) async throws -> [SealedRow] {
    try await working("Listing") { () async throws(KeyCustodyError) in
      try await table.page(of: resource, after: name, excluding: key.map(Self.rootKey), limit: limit)
    }
  }

  /// Every row, by pages; none under `key`, whether the table leaves those out or not.
  func all(excluding key: UInt8? = nil, limit: Int = 1000) async throws -> [SealedRow] {
    var all: [SealedRow] = []
    while true {
      let page = try await page(after: all.last?.name, excluding: key, limit: limit)
      try expect(page.count <= limit, "A page of at most \(limit) has \(page.count) rows.")
      guard !page.isEmpty else { break }
      all += page
    }
    guard let key else { return all }
    return all.filter { $0.rootKey != Self.rootKey(key) }
  }

  /// Writes many rows at the same time.
  func fill(_ names: [String], label: [UInt8] = [], under key: UInt8 = 1) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in 0..<min(16, names.count) {
        group.addTask {
          for index in stride(from: part, to: names.count, by: 16) {
            try await put(names[index], Array(names[index].utf8), label: label, under: key)
          }
        }
      }
      try await group.waitForAll()
    }
  }
}

/// The order of names: that of the bytes of their UTF-8.
func isBefore(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }

/// Whether two names are the same bytes: texts that look alike may be equal and are other names.
func isSame(_ left: [String], _ right: [String]) -> Bool { left.map { Array($0.utf8) } == right.map { Array($0.utf8) } }
