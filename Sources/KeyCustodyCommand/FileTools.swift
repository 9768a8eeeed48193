#if CommandLine
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
  import KeyCustody
  import Synchronization

  /// Turns "so much is done in all" into steps of a bar.
  final class Counter: Sendable {
    private let last = Mutex<Int64>(0)
    private let bar: ProgressBar
    init(_ bar: ProgressBar) { self.bar = bar }
    func reached(_ total: Int64) {
      bar.add(
        last.withLock { last in
          defer { last = total }
          return total - last
        })
    }
  }

  /// The small things the tour does with files, besides sealing them.
  ///
  /// They block; nothing else runs in this program.
  enum FileTools {
    static func size(_ path: String) -> Int64 {
      var status = stat()
      return unsafe stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }

    /// A folder for this user alone.
    static func temporaryFolder() throws(KeyCustodyError) -> String {
      let variable = Process.variables["TMPDIR"] ?? ""
      let parent = variable.isEmpty ? "/tmp" : variable
      var template = Array("\(parent)/keycustody-tour-XXXXXX".utf8CString)
      guard unsafe mkdtemp(&template) != nil else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "No temporary folder can be made in '\(parent)'.",
          remedy: "Set TMPDIR to a folder you can write to.")
      }
      return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func isFolder(_ path: String) -> Bool {
      var status = stat()
      return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    static func makeFolder(_ path: String) { _ = unsafe mkdir(path, 0o700) }

    static func write(_ bytes: [UInt8], to path: String) throws(KeyCustodyError) {
      let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw failure(path) }
      defer { close(descriptor) }
      var done = 0
      while done < bytes.count {
        let wrote = unsafe bytes.withUnsafeBytes { buffer in
          unsafe Glibc.write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
        }
        guard wrote > 0 else { throw failure(path) }
        done += wrote
      }
    }

    /// A file of pseudo-random bytes: quick to make, not compressible.
    static func generate(_ path: String, bytes count: Int) throws(KeyCustodyError) {
      let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw failure(path) }
      defer { close(descriptor) }
      var state: UInt64 = 0x9e37_79b9_7f4a_7c15
      let words = (1 << 20) / 8
      var left = count
      while left > 0 {
        let block = unsafe [UInt64](unsafeUninitializedCapacity: words) { buffer, initialized in
          for index in 0..<words {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            unsafe buffer[index] = state
          }
          initialized = words
        }
        let wrote = unsafe block.withUnsafeBytes { buffer in
          unsafe Glibc.write(descriptor, buffer.baseAddress, min(left, buffer.count))
        }
        guard wrote > 0 else { throw failure(path) }
        left -= wrote
      }
    }

    /// Whether two files hold the same bytes.
    static func areEqual(_ left: String, _ right: String) -> Bool {
      guard size(left) == size(right) else { return false }
      let files = unsafe [open(left, O_RDONLY | O_CLOEXEC), open(right, O_RDONLY | O_CLOEXEC)]
      defer { for file in files where file >= 0 { close(file) } }
      guard files.allSatisfy({ $0 >= 0 }) else { return false }
      let count = 1 << 20
      var blocks = [[UInt8](repeating: 0, count: count), [UInt8](repeating: 0, count: count)]
      while true {
        let first = unsafe read(files[0], &blocks[0], count)
        guard first > 0 else { return first == 0 }
        var second = 0
        while second < first {
          let got = unsafe blocks[1].withUnsafeMutableBytes { buffer in
            unsafe Glibc.read(files[1], buffer.baseAddress.map { unsafe $0 + second }, first - second)
          }
          guard got > 0 else { return false }
          second += got
        }
        guard blocks[0][..<first] == blocks[1][..<first] else { return false }
      }
    }

    /// The names in a folder; none where it can't be read.
    private static func names(in folder: String) -> [String] {
      guard let handle = unsafe opendir(folder) else { return [] }
      defer { unsafe closedir(handle) }
      var names: [String] = []
      while let entry = unsafe readdir(handle) {
        names.append(
          unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
          })
      }
      return names
    }

    /// The regular files below a folder, hidden ones and build products left out; the first `limit` in order.
    static func files(below folder: String, limit: Int) -> [String] {
      var found: [String] = []
      var folders = [folder]
      while let next = folders.popLast(), found.count < limit {
        for name in names(in: next).sorted() where !name.hasPrefix(".") {
          let path = "\(next)/\(name)"
          var status = stat()
          guard unsafe lstat(path, &status) == 0 else { continue }
          if status.st_mode & S_IFMT == S_IFDIR { folders.append(path) }
          if status.st_mode & S_IFMT == S_IFREG { found.append(path) }
        }
      }
      return Array(found.prefix(limit))
    }

    /// Flips one bit in the middle of a file.
    static func flipBit(in path: String) throws(KeyCustodyError) {
      let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure(path) }
      defer { close(descriptor) }
      let offset = off_t(size(path) / 2)
      var byte: UInt8 = 0
      guard unsafe pread(descriptor, &byte, 1, offset) == 1 else { throw failure(path) }
      byte ^= 1
      guard unsafe pwrite(descriptor, &byte, 1, offset) == 1 else { throw failure(path) }
    }

    /// Removes a folder with all that is in it.
    static func remove(_ folder: String) {
      for name in names(in: folder) where name != "." && name != ".." {
        let path = "\(folder)/\(name)"
        if unsafe unlink(path) != 0 { remove(path) }
      }
      _ = unsafe rmdir(folder)
    }

    private static func failure(_ path: String) -> KeyCustodyError {
      KeyCustodyError(
        .unavailable, .unreachable, "The file '\(path)' can't be read or written (errno \(errno)).",
        remedy: "Look at the disk and the file's permissions.")
    }
  }
#endif
