import KeyCustody
import KeyCustodyCrypto

extension SealedRow {
  /// A row as it is found, without its sealed bytes.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the row.
  init(_ row: [[UInt8]?], of resource: ResourceID, _ place: String) throws(KeyCustodyError) {
    guard let name = row.text(0) else { throw .damagedStore(place, "the name of an item can't be read") }
    guard let revision = row.number(1), let head = row.bytes(2), let size = row.number(3), let label = row.bytes(4)
    else { throw .damagedRow(name, resource, place) }
    self.init(name: name, revision: revision, label: label, head: head, size: Int(clamping: size))
    guard try row.bytes(5) == digest(in: resource) else { throw .damagedRow(name, resource, place) }
  }

  /// What the statements that write a row are handed.
  func step(
    _ statement: Statement, _ sealed: [UInt8], of resource: ResourceID, over revision: UInt64? = nil
  ) throws(KeyCustodyError) -> Step {
    var step = Step(
      statement, .text(resource.folded), .bytes(Array(name.utf8)), .number(self.revision), .bytes(head),
      .number(UInt64(size)), .bytes(label), .bytes(try digest(in: resource)), .bytes(sealed))
    if let revision { step.parameters.append(.number(revision)) }
    return step
  }
}

extension SealedContent {
  /// A row as it is found, with its sealed bytes.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the row.
  init(_ row: [[UInt8]?], of resource: ResourceID, _ place: String) throws(KeyCustodyError) {
    let found = try SealedRow(row, of: resource, place)
    guard let sealed = row.bytes(6), sealed.count == found.size, sealed.starts(with: found.head) else {
      throw .damagedRow(found.name, resource, place)
    }
    self.init(revision: found.revision, label: found.label, sealed: sealed)
  }
}
