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
  private let temporary: String

  /// Begins.
  ///
  /// `target` need not be there. Nothing but a regular file is replaced.
  init(for target: String) throws(KeyCustodyError) {
    let existing = FileStatus(linkAt: target)
    try existing?.requireRegular(target)
    let (folder, name) = Self.split(target)
    guard !name.isEmpty, name != ".", name != ".." else {
      throw KeyCustodyError(.invalidInput, .malformed, "\(shown(target)) does not name a file.")
    }
    let suffix = try SystemRandom().bytes(8).hexadecimal
    self.target = target
    // Shortened, so that a long name leaves room for the suffix; cut between characters.
    temporary = "\(folder).\(name.prefix(40)).\(suffix).part"
    file = try OpenFile(creating: temporary)
    if let existing {
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
    guard unsafe rename(temporary, target) == 0 else { throw systemError("rename", target, errno) }
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
