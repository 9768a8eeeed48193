#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension FileSystem {
  /// Writes a new file, on the disk when this returns; where it fails none is left.
  package func writeNew(_ path: String, _ bytes: [UInt8]) throws(SystemError) {
    let file = try open(path, .creating)
    do throws(SystemError) {
      defer { close(file) }
      var done = 0
      while done < bytes.count {
        let count = try write(file, unsafe bytes.span.bytes.extracting(droppingFirst: done))
        guard count > 0 else { throw SystemError(code: ENOSPC, call: "write") }
        done += count
      }
      try synchronize(file)
    } catch {
      try? remove(path)
      throw error
    }
  }

  /// Brings the names in the folder that a path lies in to the disk.
  package func synchronizeFolder(of path: String) throws(SystemError) {
    let cut = path.lastIndex(of: "/") ?? path.startIndex
    let name = cut == path.startIndex ? (path.hasPrefix("/") ? "/" : ".") : String(path[..<cut])
    let folder = try open(name, .folder)
    defer { close(folder) }
    try synchronize(folder)
  }
}
