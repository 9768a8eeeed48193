#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What stands at a path.
package struct FileStatus: Sendable, Hashable {
  /// Whether it is a folder.
  package var isFolder: Bool
  /// Whether it is an ordinary file.
  package var isFile: Bool
  /// The permission bits.
  package var permissions: UInt32
  /// The owner's number.
  package var owner: UInt32
  /// Tells it from every other file of the disk.
  package var inode: UInt64
  /// When it was last written, in nanoseconds since 1970.
  package var written: UInt64
}

extension FileStatus {
  /// Refuses what somebody else owns, or what group or others may read or change.
  ///
  /// - Throws: `denied` (`unsafe-permissions`).
  package func checkPrivate(_ path: String) throws(KeyCustodyError) {
    guard owner == geteuid() else {
      throw KeyCustodyError(
        .denied, .unsafePermissions, "'\(path)' belongs to another user (\(owner)).",
        remedy: "Give it to the service's user: chown -R \(geteuid()) '\(path)'.")
    }
    guard permissions & 0o077 == 0 else {
      throw KeyCustodyError(
        .denied, .unsafePermissions, "Other users may read or change '\(path)'.",
        remedy: "Take that from them: chmod go= '\(path)'.")
    }
  }

  /// Refuses a folder in which somebody else may put or exchange files.
  ///
  /// - Throws: `denied` (`unsafe-permissions`).
  package func checkFolder(_ path: String) throws(KeyCustodyError) {
    guard owner == geteuid() else {
      throw KeyCustodyError(
        .denied, .unsafePermissions, "The folder '\(path)' belongs to another user (\(owner)).",
        remedy: "Give it to the service's user: chown \(geteuid()) '\(path)'.")
    }
    guard permissions & 0o022 == 0 else {
      throw KeyCustodyError(
        .denied, .unsafePermissions, "Other users may write to the folder '\(path)'.",
        remedy: "Take that from them: chmod go-w '\(path)'.")
    }
  }
}
