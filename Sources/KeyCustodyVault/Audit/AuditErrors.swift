public import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension KeyCustodyError.Reason {
  /// The audit log can't be written, so nothing may happen.
  public static let auditUnavailable = Self("audit-unavailable")
}

enum AuditErrors {
  /// Why a record could not be kept.
  static func unavailable(_ what: String, remedy: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .auditUnavailable, "The audit log can't be written, so nothing is done: \(what).", remedy: remedy,
      diagnostic: diagnostic)
  }

  static func unavailable(_ error: AuditFileError, _ path: String) -> KeyCustodyError {
    let (what, remedy) = told(error, path)
    return unavailable(what, remedy: remedy, diagnostic: "\(error.call) errno \(error.code)")
  }

  /// What a refusal of the operating system means, and what can be done about it.
  private static func told(_ error: AuditFileError, _ path: String) -> (String, String) {
    switch error.code {
    case ENOSPC, EDQUOT:
      ("there is no room for '\(path)'", "Free some space, or move finished files of the log away.")
    case EROFS: ("the file system of '\(path)' is mounted read-only", "Mount it writable, or give another folder.")
    case EACCES, EPERM:
      ("this user may not write '\(path)'", "Give the folder to the service's user: chown -R USER FOLDER.")
    case ENOENT: ("'\(path)' is not there", "Check that its file system is mounted and the path is right.")
    default:
      ("the file system reports an error on '\(path)'", "Look at the system's log (dmesg) for errors of the disk.")
    }
  }

  /// A log that can't be read.
  static func unreadable(_ error: AuditFileError, _ path: String) -> KeyCustodyError {
    let (what, remedy) = told(error, path)
    return KeyCustodyError(
      .unavailable, .unreachable, "The audit log can't be read: \(what).", remedy: remedy,
      diagnostic: "\(error.call) errno \(error.code)")
  }

  static func tooLate(_ deadline: Duration) -> KeyCustodyError {
    unavailable(
      "its file system did not answer in \(deadline.components.seconds) seconds",
      remedy: "Look at the disk: is it gone, or overloaded?")
  }

  static let closed = KeyCustodyError(
    .unavailable, .auditUnavailable, "The audit log was closed, so nothing is done.", remedy: "Open the service again.")

  static let overrun = unavailable(
    "too many records are waiting for the disk", remedy: "Use a faster disk for the log, or send fewer requests.")

  static func changedByOthers(_ path: String) -> KeyCustodyError {
    unavailable(
      "'\(path)' was moved, cut or written by somebody else",
      remedy: "Put the file back as it was and start the service again; nothing but the service may rotate its log.")
  }

  /// Records that were acknowledged are not there any more.
  static func missing(_ file: String, _ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .truncated, "The audit log '\(file)' lacks records that it had: \(what).",
      remedy: "Restore the folder. To go on without them, keep what is there as evidence and give an empty folder "
        + "and another origin.")
  }

  /// A record that is not what was written.
  static func altered(_ file: String, line: Int, record: UInt64) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged,
      "Record \(record) of the audit log, '\(file)' line \(line), is not what was written there.",
      remedy: "Restore the folder, and find out who changed it: keycustody audit verify names the first bad record.")
  }

  static func malformed(_ what: String, remedy: String = "") -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .malformed, what, remedy: remedy)
  }
}
