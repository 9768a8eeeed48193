#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension KeyCustodyError.Reason {
  /// A folder or file of ours that others may read or change.
  package static let unsafePermissions = Self("unsafe-permissions")
  /// The file that unlocks a key store is not there.
  package static let keyFileMissing = Self("key-file-missing")
  /// The disk is full.
  package static let noSpace = Self("no-space")
  /// The file system is mounted read-only.
  package static let readOnly = Self("read-only")
  /// Somebody else has the store open.
  package static let locked = Self("locked")
  /// Written, but the disk did not confirm it.
  package static let notConfirmed = Self("not-confirmed")
}

extension KeyCustodyError {
  /// What a refusal of the operating system means, and what can be done about it.
  package init(_ error: SystemError, _ path: String) {
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
  package static func notConfirmed(_ error: SystemError, _ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .notConfirmed, "The disk did not confirm a change of '\(path)'; whether it lasts is unknown.",
      remedy: "Look at the system's log (dmesg) for errors of the disk.",
      diagnostic: "\(error.call) errno \(error.code)")
  }

  /// A file of ours that is not what was written.
  package static func damagedFile(_ path: String, _ what: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The file '\(path)' is damaged: \(what).",
      remedy: "Restore it from a backup of the folder, or move it away to give up what it holds.",
      diagnostic: diagnostic)
  }

  /// A store that somebody else has open.
  ///
  /// - Parameters:
  ///   - store: the store's path, as its configuration names it.
  ///   - lock: the file that is locked while the store is open.
  ///   - other: what another user of a store is to be given, "a folder of its own" for instance.
  package static func storeInUse(_ store: String, lock path: String, other: String) -> KeyCustodyError {
    let holder = LockHolder(of: path)
    guard holder?.isThisProcess != true else {
      return KeyCustodyError(
        .busy, .locked, "The store '\(store)' is open already, elsewhere in this process.",
        remedy: "Close it there first; where two backends name it, give each \(other).")
    }
    let message = "The store '\(store)' is open already"
    return KeyCustodyError(
      .busy, .locked,
      holder.map { "\(message). It is held by process \($0.id) (\($0.name))." }
        ?? "\(message), in another process or elsewhere in this process.",
      remedy: "Wait until the other process is done, then do this again: nothing has to be stopped for it. 'fuser -v "
        + "\(path)' names it. Where a service keeps the store open all the time, let the service do it, or give this "
        + "process \(other).")
  }
}
