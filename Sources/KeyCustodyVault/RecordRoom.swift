import KeyCustody

/// How much room the versions of a key or a secret may take up in the one record that holds them all.
///
/// The rest is for what must always be possible: switching off, deleting, recovering and purging.
enum RecordRoom {
  /// Up to so many bytes versions may be added.
  static let versions = PolicyStoreLimits.valueSize - (32 << 10)
  /// Up to so many bytes the attributes of versions may grow.
  static let attributes = PolicyStoreLimits.valueSize - (16 << 10)

  /// Refuses a record to which a version too many was added.
  ///
  /// - Throws: `invalidInput` (`too-many-versions`).
  static func checkVersions(_ record: some Encodable, of address: String) throws(KeyCustodyError) {
    guard try SealedValue.json(record).count > versions else { return }
    throw KeyCustodyError(
      .invalidInput, .tooManyVersions,
      "'\(address)' has as many versions as fit into its record of \(versions >> 10) KiB; none was added.",
      remedy: "Take another name; or whoever may purge in this vault deletes and purges this one, with every version.")
  }

  /// Refuses a record whose attributes grew too large.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  static func checkAttributes<Record: Encodable>(
    _ record: Record, was before: Record, of address: String
  ) throws(KeyCustodyError) {
    let size = try SealedValue.json(record).count
    guard size > attributes, size > (try SealedValue.json(before).count) else { return }
    throw KeyCustodyError(
      .invalidInput, .wrongSize,
      "With this, the versions of '\(address)' would not fit into its record of \(attributes >> 10) KiB.",
      remedy: "Give its versions shorter or fewer tags, or go on under another name.")
  }
}
