import KeyCustody
import Synchronization

/// The folder of a store, opened: checked, locked, and known to be the one whose identity it tells.
///
/// In it stand `store.json`, `lock`, and a folder with a file for each key or record.
final class StoreFolder: Sendable {
  let root: DurableFolder
  /// Where the keys or records are.
  let contents: DurableFolder
  let store: StoreFile
  /// Whether it was made by this opening.
  let isNew: Bool
  private let lock: Mutex<Int32?>

  private static let lockName = "lock"

  /// Opens a store's folder, or makes it.
  ///
  /// - Parameters:
  ///   - contents: the name of the folder inside.
  ///   - isExclusive: whether nobody else may have it open.
  ///   - make: gives a new store's file; `nil` when a store must be there already.
  /// - Throws: `unavailable`, `invalidInput`, `denied` (`unsafe-permissions`), `busy` (`locked`), `integrityFailure`.
  init(
    _ root: DurableFolder, kind: StoreFile.Kind, contents: String, isExclusive: Bool,
    make: (() throws(KeyCustodyError) -> StoreFile)?
  ) throws(KeyCustodyError) {
    self.root = root
    self.contents = root.folder(contents)
    try Self.prepare(root, contents, mayMake: make != nil)
    let file = try Self.takeLock(root, isExclusive: isExclusive, contents: self.contents)
    do throws(KeyCustodyError) {
      let path = root.appending(StoreFile.name)
      if let bytes = try root.read(StoreFile.name, limit: StoreFile.largest) {
        store = try StoreFile.decode(bytes, as: kind, at: path)
        isNew = false
      } else if let make {
        store = try make()
        isNew = true
        try Self.makeFolder(self.contents)
        guard try root.create(StoreFile.name, try store.encoded()) else {
          throw KeyCustodyError(
            .busy, .locked, "Another process makes the store '\(root.path)' at this moment.", remedy: "Try again.")
        }
      } else {
        throw KeyCustodyError(SystemError(code: 2, call: "open"), path)
      }
      try Self.check(self.contents, of: root)
    } catch {
      root.system.close(file)
      throw error
    }
    lock = Mutex(file)
  }

  /// Tells a store that lacks a file from a store that is not there any more.
  ///
  /// - Throws: `unavailable` when this is not the folder that was opened.
  func confirm() throws(KeyCustodyError) {
    let path = root.appending(StoreFile.name)
    guard let bytes = try root.read(StoreFile.name, limit: StoreFile.largest),
      try StoreFile.decode(bytes, as: store.kind, at: path).uuid == store.uuid,
      try contents.exists()
    else {
      throw Self.gone(root)
    }
  }

  private static func gone(_ root: DurableFolder) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "The store that was opened is not at '\(root.path)' any more.",
      remedy: "Check that its file system is mounted; then start the service anew.")
  }

  /// Lets go of the lock.
  func close() {
    let file = lock.withLock { lock in
      defer { lock = nil }
      return lock
    }
    if let file { root.system.close(file) }
  }

  deinit { close() }

  /// Finds the folder as it must be, or makes it where that is allowed.
  private static func prepare(_ root: DurableFolder, _ contents: String, mayMake: Bool) throws(KeyCustodyError) {
    guard let status = try status(root) else {
      guard mayMake else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "There is no store at '\(root.path)'.",
          remedy: "Check that its file system is mounted, or set 'create' to true to make a new one.")
      }
      return try makeFolder(root)
    }
    guard status.isFolder else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "'\(root.path)' is a file; a store is a folder.",
        remedy: "Give the path of a folder as 'directory'.")
    }
    try status.checkPrivate(root.path)
    guard try root.status(StoreFile.name) == nil else { return }
    let inside = try root.folder(contents).exists() ? try root.folder(contents).names() : []
    guard inside.isEmpty else {
      throw .damagedFile(root.appending(StoreFile.name), "it is missing, though there are files in '\(contents)'")
    }
    guard try root.names().allSatisfy({ $0 == lockName || $0 == contents }) else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "'\(root.path)' holds something else, and no store.",
        remedy: "Give an empty folder, or one that is not there yet, as 'directory'.")
    }
    guard mayMake else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "There is no store in '\(root.path)', which is empty.",
        remedy: "Check that its file system is mounted, or set 'create' to true to make a new one.")
    }
  }

  private static func status(_ folder: DurableFolder) throws(KeyCustodyError) -> FileStatus? {
    do { return try folder.system.status(folder.path, followingLink: true) } catch {
      throw KeyCustodyError(error, folder.path)
    }
  }

  private static func check(_ folder: DurableFolder, of root: DurableFolder) throws(KeyCustodyError) {
    guard let status = try status(folder), status.isFolder else {
      guard try root.status(StoreFile.name) != nil else { throw gone(root) }
      throw .damagedFile(folder.path, "the folder is missing")
    }
    try status.checkPrivate(folder.path)
  }

  private static func makeFolder(_ folder: DurableFolder) throws(KeyCustodyError) {
    do {
      try folder.system.makeFolder(folder.path)
      let parent = folder.path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
      let above = parent.isEmpty ? (folder.path.hasPrefix("/") ? "/" : ".") : parent
      try DurableFolder(path: above, system: folder.system, random: folder.random).synchronize()
    } catch {
      if error.code == 17 { return }
      throw KeyCustodyError(error, folder.path)
    }
  }

  /// Takes the lock, and cleans up where nobody else has the store open.
  private static func takeLock(
    _ root: DurableFolder, isExclusive: Bool, contents: DurableFolder
  ) throws(KeyCustodyError) -> Int32 {
    let path = root.appending(lockName)
    do {
      let file = try root.system.open(path, .locking)
      do {
        if try root.system.lock(file, .exclusive) {
          try root.removeTemporaries()
          if try contents.exists() { try contents.removeTemporaries() }
        } else if isExclusive {
          throw KeyCustodyError.storeInUse(root.path, lock: path, other: "a folder of its own")
        }
        if !isExclusive { _ = try root.system.lock(file, .shared) }
        return file
      } catch {
        root.system.close(file)
        throw error
      }
    } catch let error as SystemError {
      throw KeyCustodyError(error, path)
    } catch let error as KeyCustodyError {
      throw error
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "'\(path)' can't be locked.", diagnostic: "\(error)")
    }
  }
}
