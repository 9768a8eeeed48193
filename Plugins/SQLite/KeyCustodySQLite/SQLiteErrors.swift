import GRDB
import KeyCustody

/// Does work on a database, and says what its failure means.
///
/// - Throws: what ``KeyCustody/KeyCustodyError/init(_:database:)`` makes of a refusal of SQLite's.
func onDatabase<Result>(_ path: String, _ work: () throws -> Result) throws(KeyCustodyError) -> Result {
  do { return try work() } catch let error as KeyCustodyError {
    throw error
  } catch let error as DatabaseError {
    throw KeyCustodyError(error, database: path)
  } catch {
    throw KeyCustodyError(.fault, .internalFault, "'\(path)' can't be used.", diagnostic: "\(error)")
  }
}

extension KeyCustodyError {
  /// What a refusal of SQLite's means, and what can be done about it.
  ///
  /// Everything that goes on before a commit leaves the database as it was.
  init(_ error: DatabaseError, database path: String) {
    // The message of SQLite's, never the values that were written.
    let diagnostic = "SQLite \(error.extendedResultCode.rawValue) \(error.message ?? "")"
    switch error.resultCode {
    case .SQLITE_FULL:
      self.init(
        .unavailable, .noSpace, "There is no room for '\(path)': the disk or the quota is full.",
        remedy: "Free some space (df -h '\(path)').", diagnostic: diagnostic)
    case .SQLITE_READONLY:
      self.init(
        .unavailable, .readOnly, "'\(path)' can't be written: the file or its file system is read-only.",
        remedy: "Mount it writable and let the service's user write to the file and its folder.",
        diagnostic: diagnostic)
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      self.init(
        .busy, .locked, "Another program has the database '\(path)' locked.",
        remedy: "Let it finish; 'fuser -v \(path)' names it.", retryAfter: .seconds(1), diagnostic: diagnostic)
    case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT, .SQLITE_SCHEMA, .SQLITE_ERROR:
      // Our statements are right for a sound database, so a refusal of one is damage too (of the schema, for instance).
      self = .damagedDatabase(path, "SQLite can't read it", diagnostic: diagnostic)
    case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
      self.init(
        .unavailable, .unreachable, "'\(path)' can't be opened.",
        remedy: "Check that its file system is mounted and that the service's user may write to its folder.",
        diagnostic: diagnostic)
    case .SQLITE_NOMEM, .SQLITE_INTERRUPT, .SQLITE_ABORT:
      self.init(
        .unavailable, .unreachable, "SQLite has no memory for '\(path)' or was interrupted.",
        remedy: "Try again; give the process more memory where that fails.", diagnostic: diagnostic)
    case .SQLITE_IOERR:
      self.init(
        .unavailable, .unreachable, "'\(path)' can't be used: the file system reports an error.",
        remedy: "Look at the system's log (dmesg) for errors of the disk.", diagnostic: diagnostic)
    default:
      self.init(.fault, .internalFault, "SQLite refused to work on '\(path)'.", diagnostic: diagnostic)
    }
  }

  /// A database that is not what was written.
  static func damagedDatabase(_ path: String, _ what: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The database '\(path)' is damaged: \(what).",
      remedy: "Restore it, with its -wal file where there is one, from a backup.", diagnostic: diagnostic)
  }

  /// A record that is not what was written.
  static func damagedRecord(_ key: RecordKey, _ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The record '\(key)' of the database '\(path)' is damaged.",
      remedy: "Restore the database from a backup.")
  }

  /// A row of sealed data that is not what was written.
  static func damagedRow(_ name: String, _ resource: String, _ path: String) -> KeyCustodyError {
    let shown = String(
      name.unicodeScalars.prefix(100).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) })
    return KeyCustodyError(
      .integrityFailure, .damaged, "The item '\(shown)' of '\(resource)' in the database '\(path)' is damaged.",
      remedy: "Restore the database from a backup, or remove the item.")
  }

  /// A change of which it is not known whether it would survive a crash.
  static func notConfirmed(_ path: String, _ cause: KeyCustodyError) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .notConfirmed, "The disk did not confirm a change of '\(path)'; whether it lasts is unknown.",
      remedy: cause.remedy, diagnostic: cause.diagnostic ?? cause.message)
  }
}
