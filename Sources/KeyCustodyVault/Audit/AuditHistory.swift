public import KeyCustody

/// An audit sink that can be read.
public protocol AuditHistory: AuditSink {
  /// The records about one key, oldest first, a page at a time. Asks nobody for permission.
  func events(ofKey key: KeyURI, _ request: AuditPageRequest) async throws(KeyCustodyError) -> AuditPage
  /// The records about administering the vault at an address, oldest first, a page at a time. Asks nobody for
  /// permission.
  func administration(ofVault address: String, _ request: AuditPageRequest) async throws(KeyCustodyError) -> AuditPage
}

/// Which records of a key are wanted.
public struct AuditPageRequest: Sendable, Hashable {
  /// Not older than this.
  public var since: Timestamp?
  /// Goes on where a page ended; `nil` for the first page.
  public var after: String?
  /// How many records at most: 1 to 1,000.
  public var limit: Int
  /// Asks for a page.
  public init(since: Timestamp? = nil, after: String? = nil, limit: Int = 100) {
    self.since = since
    self.after = after
    self.limit = limit
  }
}

/// A page of records.
public struct AuditPage: Sendable, Hashable {
  /// The records, oldest first; perhaps fewer than asked for, or none, though more follow.
  public var records: [AuditRecord]
  /// Where the next page begins; `nil` at the end.
  public var next: String?
  /// A page.
  public init(records: [AuditRecord], next: String?) {
    self.records = records
    self.next = next
  }
}

extension AuditLog {
  /// How much of the files is read for one page: nobody holds the reader for long.
  private static let pageBytes = 32 << 20

  /// The records about one key, oldest first, a page at a time; of all its versions where the address has none.
  ///
  /// Reads the files that are in the folder: those that were moved away are passed over.
  /// - Throws: `invalidInput` for a limit outside 1 to 1,000 or a place that was never given; `integrityFailure` for a
  ///   record that was altered.
  public func events(
    ofKey key: KeyURI, _ request: AuditPageRequest
  ) async throws(KeyCustodyError) -> AuditPage {
    try await page(request) { $0.isAbout(key) }
  }

  /// The records about administering the vault at an address, oldest first, a page at a time.
  ///
  /// - Throws: as ``events(ofKey:_:)``.
  public func administration(
    ofVault address: String, _ request: AuditPageRequest
  ) async throws(KeyCustodyError) -> AuditPage {
    try await page(request) { $0.isAdministration(of: address) }
  }

  private func page(
    _ request: AuditPageRequest, where isWanted: @escaping @Sendable (AuditEvent) -> Bool
  ) async throws(KeyCustodyError) -> AuditPage {
    guard (1...1000).contains(request.limit) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A page has 1 to 1,000 records.")
    }
    let start = try request.after.map { (text) throws(KeyCustodyError) in try AuditPlace(text) }
    let (folder, end) = (folder, acknowledged)
    return try await reader.run { () throws(KeyCustodyError) in
      try Self.page(request, where: isWanted, from: start, upTo: end, in: folder)
    }
  }

  private static func page(
    _ request: AuditPageRequest, where isWanted: (AuditEvent) -> Bool, from start: AuditPlace?,
    upTo end: AuditTail.Position, in folder: AuditFolder
  ) throws(KeyCustodyError) -> AuditPage {
    var found: [AuditRecord] = []
    var left = pageBytes
    for number in try folder.numbers() where number <= end.file && number >= start?.file ?? 0 {
      let path = folder.records(number)
      let offset = start.map { $0.file == number ? $0.offset : 0 } ?? 0
      var lines = try AuditLines(path, from: offset, upTo: number == end.file ? end.length : nil, folder.system)
      var count = 0
      while let line = try lines.next() {
        guard found.count < request.limit, left > 0 else {
          return AuditPage(records: found, next: AuditPlace(file: number, offset: line.offset).text)
        }
        count += 1
        left -= line.bytes.count + 1
        guard line.isWhole, let record = AuditRecord(line: line.bytes) else {
          if start?.file == number, count == 1 { throw AuditPlace.unknown }
          throw KeyCustodyError(
            .integrityFailure, .damaged, "The audit log '\(path)' is damaged at byte \(line.offset).",
            remedy: "Find out what happened: keycustody audit verify names the first bad record.")
        }
        guard record.event.time >= request.since ?? record.event.time, isWanted(record.event) else { continue }
        found.append(record)
      }
    }
    return AuditPage(records: found, next: nil)
  }
}

extension AuditEvent {
  /// Whether the event's target is the key, or the version where one is named.
  func isAbout(_ key: KeyURI) -> Bool {
    guard let target = try? KeyURI(target), target.authority == key.authority, target.name == key.name else {
      return false
    }
    return key.version == nil || target.version == key.version
  }

  /// Whether the event is an act of administration on the vault at an address: on itself, its rules, or the rights in
  /// it.
  package func isAdministration(of vault: String) -> Bool {
    guard action == "explain" || action.hasPrefix("vaults/") || action.hasPrefix("policies/") else { return false }
    return target == vault || target.hasPrefix("\(vault)/")
  }
}

/// Where a page begins.
private struct AuditPlace {
  var file: Int
  var offset: Int
  static let unknown = KeyCustodyError(
    .invalidInput, .malformed, "That is not where a page of the audit log begins.",
    remedy: "Pass on what the page before gave as next.")

  init(file: Int, offset: Int) {
    self.file = file
    self.offset = offset
  }

  init(_ text: String) throws(KeyCustodyError) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false).compactMap { Int($0) }
    guard parts.count == 2, parts.allSatisfy({ $0 >= 0 }), AuditPlace(file: parts[0], offset: parts[1]).text == text
    else { throw Self.unknown }
    self.init(file: parts[0], offset: parts[1])
  }

  var text: String { "\(file).\(offset)" }
}
