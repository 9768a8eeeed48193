import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Tells whether a database has changed without asking SQLite: by the head of its write-ahead log's index, which lies
/// in shared memory.
///
/// Every transaction of every program counts up in that head before anybody can read what it changed
/// (sqlite.org/walformat.html, "The WAL-Index File Format"). So what was read while a head stood there is what the
/// database holds for as long as it stands there.
@safe
// Unchecked: the address is set once, and mapped until the end; what is there is read only, twice over.
final class ChangeMark: @unchecked Sendable {
  private let head: UnsafeMutableRawPointer?
  /// Open for as long as SQLite has the file, whatever happens: closing it lets go of SQLite's locks on it (fcntl(2)),
  /// and who opens the database then takes the file for a left-over.
  private let file: Mutex<Int32?>
  /// A head, of which two copies stand there.
  private static let size = 48

  /// The mark of a database that SQLite has open.
  init(_ path: String) {
    let file = unsafe open("\(path)-shm", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    self.file = Mutex(file < 0 ? nil : file)
    var status = stat()
    guard file >= 0, unsafe fstat(file, &status) == 0, status.st_size >= 2 * Self.size else {
      unsafe head = nil
      return
    }
    let pages = unsafe mmap(nil, 2 * Self.size, PROT_READ, MAP_SHARED, file, 0)
    unsafe head = pages == MAP_FAILED ? nil : pages
  }

  /// What stands there now; `nil` while it is being written, and where it can't be read.
  var value: SIMD8<UInt64>? {
    guard let head = unsafe head else { return nil }
    var copies = (SIMD8<UInt64>(), SIMD8<UInt64>())
    for index in 0..<6 {
      copies.0[index] = unsafe head.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
      copies.1[index] = unsafe head.loadUnaligned(fromByteOffset: Self.size + 8 * index, as: UInt64.self)
    }
    return copies.0 == copies.1 ? copies.0 : nil
  }

  /// To be called once SQLite has closed the file.
  func letGo() {
    let file = self.file.withLock { file in
      defer { file = nil }
      return file
    }
    if let file { _ = close(file) }
  }

  deinit {
    // The file stays open where nobody said that SQLite has closed it.
    if let head = unsafe head { unsafe munmap(head, 2 * Self.size) }
  }
}
