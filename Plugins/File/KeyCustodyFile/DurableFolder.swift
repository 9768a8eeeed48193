import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A folder whose files are whole or absent, whatever happens, and on the disk before a change is answered.
///
/// A file is written under a temporary name, brought to the disk, given its name in one step, and then the folder is
/// brought to the disk. A failure before that step means that nothing happened; one at or after it is `timeout`.
struct DurableFolder: Sendable {
  let path: String
  let system: any FileSystem
  let random: any RandomSource

  func appending(_ name: String) -> String { "\(path)/\(name)" }

  /// The folder of that name inside.
  func folder(_ name: String) -> DurableFolder {
    DurableFolder(path: appending(name), system: system, random: random)
  }

  /// Whether the folder is there.
  func exists() throws(KeyCustodyError) -> Bool {
    do { return try system.status(path, followingLink: false)?.isFolder ?? false } catch {
      throw KeyCustodyError(error, path)
    }
  }

  /// Makes a file; `false` when the name is taken.
  func create(_ name: String, _ bytes: [UInt8]) throws(KeyCustodyError) -> Bool {
    let temporary = try writeTemporary(bytes, for: name)
    do { try system.link(temporary, as: appending(name)) } catch {
      try? system.remove(temporary)
      if error.code == EEXIST { return false }
      throw error.code == EIO ? .notConfirmed(error, appending(name)) : KeyCustodyError(error, appending(name))
    }
    // One that stays is removed at the next opening.
    try? system.remove(temporary)
    try synchronize(after: name)
    return true
  }

  /// Writes a file, in place of the old one where there is one.
  func replace(_ name: String, _ bytes: [UInt8]) throws(KeyCustodyError) {
    let temporary = try writeTemporary(bytes, for: name)
    do { try system.rename(temporary, to: appending(name)) } catch {
      try? system.remove(temporary)
      throw error.code == EIO ? .notConfirmed(error, appending(name)) : KeyCustodyError(error, appending(name))
    }
    try synchronize(after: name)
  }

  /// Removes a file; `false` when it is not there.
  func remove(_ name: String) throws(KeyCustodyError) -> Bool {
    do { try system.remove(appending(name)) } catch {
      if error.code == ENOENT { return false }
      throw error.code == EIO ? .notConfirmed(error, appending(name)) : KeyCustodyError(error, appending(name))
    }
    try synchronize(after: name)
    return true
  }

  /// Reads a file of ours; `nil` when it is not there.
  ///
  /// - Throws: `denied` (`unsafe-permissions`); `integrityFailure` (`damaged`) for more than `limit` bytes.
  func read(_ name: String, limit: Int) throws(KeyCustodyError) -> [UInt8]? {
    guard let status = try status(name) else { return nil }
    guard status.isFile else { throw .damagedFile(appending(name), "it is not an ordinary file") }
    try status.checkPrivate(appending(name))
    return try Self.read(appending(name), limit: limit, system)
  }

  /// What stands in the folder under a name.
  func status(_ name: String) throws(KeyCustodyError) -> FileStatus? {
    do { return try system.status(appending(name), followingLink: false) } catch {
      throw KeyCustodyError(error, appending(name))
    }
  }

  /// The names of the files that are not temporary.
  func names() throws(KeyCustodyError) -> [String] {
    do { return try system.names(in: path).filter { !Self.isTemporary($0) } } catch {
      throw KeyCustodyError(error, path)
    }
  }

  /// Removes what interrupted writers left.
  ///
  /// Only for who knows that no writer is at work.
  func removeTemporaries() throws(KeyCustodyError) {
    do {
      for name in try system.names(in: path) where Self.isTemporary(name) { try system.remove(appending(name)) }
    } catch { throw KeyCustodyError(error, path) }
  }

  /// Brings the names in this folder to the disk.
  func synchronize() throws(SystemError) {
    let file = try system.open(path, .folder)
    defer { system.close(file) }
    try system.synchronize(file)
  }

  private func synchronize(after name: String) throws(KeyCustodyError) {
    do { try synchronize() } catch { throw .notConfirmed(error, appending(name)) }
  }

  private static func isTemporary(_ name: String) -> Bool {
    name.hasPrefix(".") && name.hasSuffix(".tmp") && name.utf8.count == 37
  }

  private func writeTemporary(_ bytes: [UInt8], for name: String) throws(KeyCustodyError) -> String {
    let temporary = appending(".\(try random.bytes(16).hexadecimal).tmp")
    do throws(SystemError) {
      let file = try system.open(temporary, .creating)
      defer { system.close(file) }
      do throws(SystemError) {
        var done = 0
        while done < bytes.count {
          let count = try system.write(file, unsafe bytes.span.bytes.extracting(droppingFirst: done))
          guard count > 0 else { throw SystemError(code: ENOSPC, call: "write") }
          done += count
        }
        try system.synchronize(file)
      } catch {
        try? system.remove(temporary)
        throw error
      }
    } catch { throw KeyCustodyError(error, appending(name)) }
    return temporary
  }

  private static func read(
    _ path: String, limit: Int, _ system: any FileSystem
  ) throws(KeyCustodyError) -> [UInt8]? {
    do {
      let file = try system.open(path, .reading)
      defer { system.close(file) }
      let length = try system.length(file)
      guard length <= limit else { throw KeyCustodyError.damagedFile(path, "it has \(length) bytes") }
      var bytes = [UInt8](repeating: 0, count: length)
      var done = 0
      while done < length {
        var span = bytes.mutableSpan
        var whole = unsafe span.mutableBytes
        let count = try system.read(file, into: &whole, at: done)
        guard count > 0 else { break }
        done += count
      }
      return Array(bytes.prefix(done))
    } catch let error as SystemError {
      if error.code == ENOENT { return nil }
      throw KeyCustodyError(error, path)
    } catch let error as KeyCustodyError {
      throw error
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "'\(path)' can't be read.", diagnostic: "\(error)")
    }
  }
}
