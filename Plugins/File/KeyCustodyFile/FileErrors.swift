import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension KeyCustodyError.Reason {
  /// A folder or file of ours that others may read or change.
  static let unsafePermissions = Self("unsafe-permissions")
  /// The disk is full.
  static let noSpace = Self("no-space")
  /// The file system is mounted read-only.
  static let readOnly = Self("read-only")
  /// Somebody else has the store open.
  static let locked = Self("locked")
  /// Written, but the disk did not confirm it.
  static let notConfirmed = Self("not-confirmed")
}

extension KeyCustodyError {
  /// What a refusal of the operating system means, and what can be done about it.
  init(_ error: SystemError, _ path: String) {
    let diagnostic = "\(error.call) errno \(error.code)"
    switch error.code {
    case EACCES, EPERM:
      self.init(
        .unavailable, .unreachable, "This user may not use '\(path)'.",
        remedy: "Give it to the service's user: chown USER '\(path)'.", diagnostic: diagnostic)
    case ENOSPC, EDQUOT:
      self.init(
        .unavailable, .noSpace, "There is no room for '\(path)': the disk or the quota is full.",
        remedy: "Free some space (df -h '\(path)').", diagnostic: diagnostic)
    case EROFS:
      self.init(
        .unavailable, .readOnly, "'\(path)' can't be written: its file system is mounted read-only.",
        remedy: "Mount it writable, or give another folder.", diagnostic: diagnostic)
    case ENOTDIR:
      self.init(
        .invalidInput, .badConfigurationValue, "Part of '\(path)' is a file where a folder is needed.",
        remedy: "Give the path of a folder as 'directory'.", diagnostic: diagnostic)
    case ENOENT:
      self.init(
        .unavailable, .unreachable, "'\(path)' is not there.",
        remedy: "Check that its file system is mounted and the path is right.", diagnostic: diagnostic)
    case EMFILE, ENFILE:
      self.init(
        .busy, .unreachable, "'\(path)' can't be opened: too many files are open.",
        remedy: "Raise the limit on open files (ulimit -n).", diagnostic: diagnostic)
    default:
      self.init(
        .unavailable, .unreachable, "'\(path)' can't be used: the file system reports an error.",
        remedy: "Look at the system's log (dmesg) for errors of the disk.", diagnostic: diagnostic)
    }
  }

  /// A change of which it is not known whether it would survive a crash.
  static func notConfirmed(_ error: SystemError, _ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .notConfirmed, "The disk did not confirm a change of '\(path)'; whether it lasts is unknown.",
      remedy: "Look at the system's log (dmesg) for errors of the disk.",
      diagnostic: "\(error.call) errno \(error.code)")
  }

  /// A file of ours that is not what was written.
  static func damagedFile(_ path: String, _ what: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The file '\(path)' is damaged: \(what).",
      remedy: "Restore it from a backup of the folder, or move it away to give up what it holds.",
      diagnostic: diagnostic)
  }
}
