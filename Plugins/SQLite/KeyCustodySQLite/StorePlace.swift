import KeyCustody
import Synchronization

/// The place of a store: its file, found to be ours or made, and the lock that one process at a time holds.
final class StorePlace: Sendable {
  let path: String
  private let system: any FileSystem
  private let lock: Mutex<Int32?>
  /// The numbers of the files that SQLite has open.
  private let inodes = Mutex<[String: UInt64]>([:])

  /// Takes the lock of a store; finds its file, or makes it.
  ///
  /// - Parameter make: fills an empty file, that of the path given; `nil` when a store must be there already.
  init(
    _ path: String, _ format: StoreFormat, system: any FileSystem, make: ((String) throws(KeyCustodyError) -> Void)?
  ) throws(KeyCustodyError) {
    self.path = path
    self.system = system
    let folder = Self.folder(of: path)
    try Self.prepare(folder, for: path, mayMake: make != nil, system)
    let file = try Self.takeLock(path, system)
    do throws(KeyCustodyError) {
      if let status = try Self.status(path, system) {
        guard status.isFile else {
          throw KeyCustodyError(
            .invalidInput, .badConfigurationValue, "'\(path)' is not an ordinary file.",
            remedy: "Give the path of a file as 'path'.")
        }
        try status.checkPrivate(path)
      } else {
        try Self.make(path, in: folder, make, system)
      }
      try format.check(try Self.header(of: path, system), at: path)
    } catch {
      system.close(file)
      throw error
    }
    lock = Mutex(file)
  }

  /// Notes which files SQLite has opened.
  func noteFiles() throws(KeyCustodyError) {
    for name in [path, "\(path)-wal"] {
      guard let status = try Self.status(name, system) else { throw gone(name) }
      inodes.withLock { $0[name] = status.inode }
    }
  }

  /// Makes sure that the files that SQLite has open are still those at the path: what is written to a file without a
  /// name does not last.
  ///
  /// - Throws: `unavailable`.
  func confirm() throws(KeyCustodyError) {
    for (name, inode) in inodes.withLock({ $0 }) {
      guard try Self.status(name, system)?.inode == inode else { throw gone(name) }
    }
  }

  private func gone(_ name: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "The store that was opened is not at '\(path)' any more: '\(name)' is another file.",
      remedy: "Check that its file system is mounted; then start the service anew.")
  }

  /// Lets go of the lock.
  func close() {
    let file = lock.withLock { lock in
      defer { lock = nil }
      return lock
    }
    if let file { system.close(file) }
  }

  deinit { close() }

  // MARK: Opening

  private static func folder(of path: String) -> String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    return parts.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : parts
  }

  private static func status(_ path: String, _ system: any FileSystem) throws(KeyCustodyError) -> FileStatus? {
    do { return try system.status(path, followingLink: false) } catch { throw KeyCustodyError(error, path) }
  }

  /// Finds the folder as it must be, or makes it where that is allowed.
  private static func prepare(
    _ folder: String, for path: String, mayMake: Bool, _ system: any FileSystem
  ) throws(KeyCustodyError) {
    do {
      if try system.status(folder, followingLink: true) == nil {
        guard mayMake else { throw absent(path) }
        try system.makeFolder(folder)
        try synchronize(Self.folder(of: folder), system)
      }
      guard let status = try system.status(folder, followingLink: true) else { throw absent(path) }
      guard status.isFolder else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "'\(folder)' is a file where a folder is needed.",
          remedy: "Give the path of a file in a folder as 'path'.")
      }
      try status.checkFolder(folder)
    } catch let error as SystemError {
      throw KeyCustodyError(error, folder)
    } catch let error as KeyCustodyError {
      throw error
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "'\(folder)' can't be looked at.", diagnostic: "\(error)")
    }
  }

  private static func absent(_ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "There is no store at '\(path)'.",
      remedy: "Check that its file system is mounted, or set 'create' to true to make a new one.")
  }

  private static func takeLock(_ path: String, _ system: any FileSystem) throws(KeyCustodyError) -> Int32 {
    let name = "\(path).lock"
    do {
      let file = try system.open(name, .locking)
      do {
        guard try system.lock(file, .exclusive) else {
          throw KeyCustodyError.storeInUse(path, lock: name, other: "a file of its own")
        }
        return file
      } catch {
        system.close(file)
        throw error
      }
    } catch let error as SystemError {
      throw KeyCustodyError(error, name)
    } catch let error as KeyCustodyError {
      throw error
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "'\(name)' can't be locked.", diagnostic: "\(error)")
    }
  }

  /// Makes the file under another name, and gives it its own when it is whole and on the disk.
  private static func make(
    _ path: String, in folder: String, _ make: ((String) throws(KeyCustodyError) -> Void)?, _ system: any FileSystem
  ) throws(KeyCustodyError) {
    guard try status("\(path)-wal", system) == nil else {
      throw .damagedDatabase(path, "it is missing, though '\(path)-wal' is there")
    }
    guard let make else { throw absent(path) }
    let temporary = "\(path).new"
    // What an interrupted opening left.
    for name in [temporary, "\(temporary)-journal"] where try status(name, system) != nil {
      do { try system.remove(name) } catch { throw KeyCustodyError(error, name) }
    }
    do throws(SystemError) { system.close(try system.open(temporary, .creating)) } catch {
      throw KeyCustodyError(error, temporary)
    }
    try make(temporary)
    do throws(SystemError) {
      try system.rename(temporary, to: path)
      try synchronize(folder, system)
    } catch { throw KeyCustodyError(error, path) }
  }

  private static func synchronize(_ folder: String, _ system: any FileSystem) throws(SystemError) {
    let file = try system.open(folder, .folder)
    defer { system.close(file) }
    try system.synchronize(file)
  }

  private static func header(of path: String, _ system: any FileSystem) throws(KeyCustodyError) -> [UInt8] {
    do throws(SystemError) {
      let file = try system.open(path, .reading)
      defer { system.close(file) }
      var bytes = [UInt8](repeating: 0, count: StoreFormat.headerSize)
      var done = 0
      while done < bytes.count {
        var span = bytes.mutableSpan
        var whole = unsafe span.mutableBytes
        let count = try system.read(file, into: &whole, at: done)
        guard count > 0 else { break }
        done += count
      }
      return Array(bytes.prefix(done))
    } catch { throw KeyCustodyError(error, path) }
  }
}
