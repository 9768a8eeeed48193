internal import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file that is written beside another and takes its place when it is complete.
///
/// Its calls block.
final class ReplacementFile: Sendable {
  let file: OpenFile
  private let target: String
  private let name: String
  private let temporary: String

  /// Who may read and write the new file.
  enum Permissions {
    /// Those who might use the file that it takes the place of; this user alone where there was none.
    case kept
    /// This user alone, whatever was there: for plaintext.
    case own
  }

  /// Begins.
  ///
  /// `target` need not be there. Nothing but a regular file is replaced.
  ///
  /// - Parameter name: what messages call it; the target's own name unless given.
  init(for target: String, shownAs name: String? = nil, _ permissions: Permissions) throws(KeyCustodyError) {
    let name = name ?? target
    let existing = FileStatus(linkAt: target)
    try existing?.requireRegular(name)
    let (folder, last) = Self.split(target)
    guard !last.isEmpty, last != ".", last != ".." else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "\(shown(name)) does not name a file.", remedy: "Name a file in a folder.")
    }
    let suffix = try SystemRandom().bytes(8).hexadecimal
    self.target = target
    self.name = name
    // Shortened, so that a long name leaves room for the suffix; cut between characters.
    temporary = "\(folder).\(last.prefix(40)).\(suffix).part"
    file = try OpenFile(creating: temporary, shownAs: name)
    if let existing, permissions == .kept {
      do throws(KeyCustodyError) { try file.setPermissions(existing.mode) } catch {
        discard()
        throw error
      }
    }
  }

  /// Brings the bytes to stable storage and puts the file in its place, unless `check` objects at the last moment.
  func commit(unless check: () throws(KeyCustodyError) -> Void) throws(KeyCustodyError) {
    try file.synchronize()
    // After the wait for the disk: whoever changed the source meanwhile must not be overwritten.
    try check()
    guard unsafe rename(temporary, target) == 0 else { throw systemError("rename", name, errno) }
    // From here on the target is the new one. A folder that can't be synchronized (some network file systems) does
    // not make it wrong, so this is no error.
    let (folder, _) = Self.split(target)
    let descriptor = unsafe open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  /// Removes the temporary file.
  func discard() { unsafe unlink(temporary) }

  /// The folder, with its last slash, and the name.
  private static func split(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
    let end = path.utf8.index(after: slash)
    return (String(path[..<end]), String(path[end...]))
  }
}
