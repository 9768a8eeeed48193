import GRDBSQLite
package import KeyCustodyTesting
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The files that SQLite opens in one folder, with the faults of the kit in them.
///
/// It is a layer (VFS) between SQLite and the operating system, put there for the whole process; files of other folders
/// go past it. What the store itself does to files goes through ``system``.
package final class SteeredDatabaseFiles: Sendable {
  /// Makes the faults.
  package var faults: FaultSwitch { system.faults }
  /// For what the store does without SQLite.
  package let system: SteeredFileSystem
  private let folder: String
  private let age: Age

  /// Files in a folder, without a fault so far.
  package init(in folder: String) throws {
    let age = Age()
    self.folder = folder
    self.age = age
    system = SteeredFileSystem { age.crash() }
    guard SteeredLayer.isInstalled else { throw CancellationError() }
    SteeredLayer.folders.withLock { $0[folder] = (system.faults, age) }
  }

  deinit { SteeredLayer.folders.withLock { folders in _ = folders.removeValue(forKey: folder) } }

  /// How often the process "was killed": files that were opened before are dead.
  final class Age: Sendable {
    private let number = Mutex(0)
    var current: Int { number.withLock { $0 } }
    func crash() { number.withLock { $0 += 1 } }
  }
}

/// What is known of a file that SQLite has open.
private final class SteeredFile {
  let faults: FaultSwitch
  let age: SteeredDatabaseFiles.Age
  let born: Int

  init(_ faults: FaultSwitch, _ age: SteeredDatabaseFiles.Age) {
    self.faults = faults
    self.age = age
    born = age.current
  }

  /// Does a call as the faults have it.
  func call(grows: Bool = false, _ work: () -> Int32, corrupt: () -> Void = {}) -> Int32 {
    guard age.current == born else { return SQLITE_IOERR }
    switch faults.enter(grows: grows) {
    case .work, .cut, .logOut: return work()
    case .corrupt:
      let code = work()
      if code == SQLITE_OK { corrupt() }
      return code
    case .fail(.full): return SQLITE_FULL
    case .fail, .lookEmpty: return SQLITE_IOERR
    case .workThenFail:
      _ = work()
      return SQLITE_IOERR
    }
  }
}

/// The layer itself: a file of it is a pointer to the methods below, one to its ``SteeredFile``, and the real file.
private enum SteeredLayer {
  static let folders = Mutex<[String: (faults: FaultSwitch, age: SteeredDatabaseFiles.Age)]>([:])
  private static let header = 16

  // Unsafe: SQLite's own table of file calls, which it keeps for the life of the process and nobody changes.
  nonisolated(unsafe) private static let real: UnsafeMutablePointer<sqlite3_vfs>? = unsafe sqlite3_vfs_find(nil)
  // Unsafe: filled once, before SQLite is given it, then only read, and never freed.
  nonisolated(unsafe) private static let methods: UnsafeMutablePointer<sqlite3_io_methods> = unsafe makeMethods()

  /// Puts the layer in place, once.
  static let isInstalled: Bool = {
    guard let system = unsafe real else { return false }
    let layer = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    unsafe layer.initialize(to: system.pointee)
    unsafe layer.pointee.szOsFile += Int32(header)
    unsafe layer.pointee.zName = UnsafePointer(strdup("steered"))
    unsafe layer.pointee.pNext = nil
    unsafe layer.pointee.xOpen = { unsafe SteeredLayer.open($1, $2, $3, $4) }
    unsafe layer.pointee.xDelete = { _, name, synchronizes in
      unsafe SteeredLayer.file(at: name) {
        unsafe SteeredLayer.real?.pointee.xDelete(SteeredLayer.real, name, synchronizes)
      }
    }
    unsafe layer.pointee.xAccess = { _, name, flags, answer in
      unsafe SteeredLayer.file(at: name) {
        unsafe SteeredLayer.real?.pointee.xAccess(SteeredLayer.real, name, flags, answer)
      }
    }
    // The rest asks the operating system nothing about files; it is given the real layer.
    unsafe layer.pointee.xFullPathname = {
      unsafe SteeredLayer.real?.pointee.xFullPathname(SteeredLayer.real, $1, $2, $3) ?? SQLITE_ERROR
    }
    return unsafe sqlite3_vfs_register(layer, 1) == SQLITE_OK
  }()

  private static func steered(_ name: UnsafePointer<CChar>?) -> SteeredFile? {
    guard let name = unsafe name else { return nil }
    let path = unsafe String(cString: name)
    guard let folder = path.lastIndex(of: "/").map({ String(path[..<$0]) }) else { return nil }
    return folders.withLock { $0[folder] }.map { SteeredFile($0.faults, $0.age) }
  }

  private static func file(at name: UnsafePointer<CChar>?, _ work: () -> Int32?) -> Int32 {
    guard let file = unsafe steered(name) else { return work() ?? SQLITE_ERROR }
    return file.call { work() ?? SQLITE_ERROR }
  }

  private static func open(
    _ name: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32,
    _ found: UnsafeMutablePointer<Int32>?
  ) -> Int32 {
    guard let real = unsafe real, let file = unsafe file else { return SQLITE_CANTOPEN }
    guard let steered = unsafe steered(name) else { return unsafe real.pointee.xOpen(real, name, file, flags, found) }
    unsafe file.pointee.pMethods = nil
    let code = steered.call(grows: flags & SQLITE_OPEN_CREATE != 0) {
      unsafe real.pointee.xOpen(real, name, inner(file), flags, found)
    }
    guard unsafe inner(file)?.pointee.pMethods != nil, code == SQLITE_OK else {
      if code != SQLITE_OK, unsafe inner(file)?.pointee.pMethods != nil {
        _ = unsafe inner(file)?.pointee.pMethods.pointee.xClose(inner(file))
      }
      return code == SQLITE_OK ? SQLITE_CANTOPEN : code == SQLITE_IOERR ? SQLITE_CANTOPEN : code
    }
    unsafe UnsafeMutableRawPointer(file).storeBytes(
      of: Unmanaged.passRetained(steered).toOpaque(), toByteOffset: 8, as: UnsafeMutableRawPointer.self)
    unsafe file.pointee.pMethods = UnsafePointer(methods)
    return SQLITE_OK
  }

  private static func inner(_ file: UnsafeMutablePointer<sqlite3_file>?) -> UnsafeMutablePointer<sqlite3_file>? {
    unsafe file.map { unsafe (UnsafeMutableRawPointer($0) + header).assumingMemoryBound(to: sqlite3_file.self) }
  }

  private static func handle(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Unmanaged<SteeredFile>? {
    unsafe file.map {
      unsafe Unmanaged.fromOpaque(
        UnsafeRawPointer($0).load(fromByteOffset: 8, as: UnsafeMutableRawPointer.self))
    }
  }

  /// Does a call to a file as the faults have it.
  private static func call(
    _ file: UnsafeMutablePointer<sqlite3_file>?, grows: Bool = false, corrupt: () -> Void = {},
    _ work: (sqlite3_io_methods, UnsafeMutablePointer<sqlite3_file>) -> Int32
  ) -> Int32 {
    guard let steered = unsafe handle(file)?.takeUnretainedValue() else { return SQLITE_IOERR }
    return steered.call(grows: grows, { unsafe past(file, work) }, corrupt: corrupt)
  }

  /// Does a call that no fault concerns.
  private static func past(
    _ file: UnsafeMutablePointer<sqlite3_file>?,
    _ work: (sqlite3_io_methods, UnsafeMutablePointer<sqlite3_file>) -> Int32
  ) -> Int32 {
    guard let inner = unsafe inner(file), let methods = unsafe inner.pointee.pMethods else { return SQLITE_IOERR }
    return unsafe work(methods.pointee, inner)
  }

  private static func makeMethods() -> UnsafeMutablePointer<sqlite3_io_methods> {
    let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    unsafe methods.initialize(to: sqlite3_io_methods())
    unsafe methods.pointee.iVersion = 2
    unsafe methods.pointee.xClose = { file in
      let code = unsafe SteeredLayer.past(file) { unsafe $0.xClose($1) }
      unsafe SteeredLayer.handle(file)?.release()
      return code
    }
    unsafe methods.pointee.xRead = { file, buffer, count, offset in
      unsafe SteeredLayer.call(
        file,
        corrupt: {
          guard let place = unsafe buffer.map({ unsafe $0 + Int(count) / 2 }) else { return }
          let byte = unsafe place.load(as: UInt8.self)
          unsafe place.storeBytes(of: byte ^ 0x10, as: UInt8.self)
        }, { unsafe $0.xRead($1, buffer, count, offset) })
    }
    unsafe methods.pointee.xWrite = { file, buffer, count, offset in
      unsafe SteeredLayer.call(file, grows: true) { unsafe $0.xWrite($1, buffer, count, offset) }
    }
    unsafe methods.pointee.xTruncate = { file, size in unsafe SteeredLayer.call(file) { unsafe $0.xTruncate($1, size) }
    }
    unsafe methods.pointee.xSync = { file, flags in
      unsafe SteeredLayer.call(file) { unsafe $0.xSync($1, flags) }
    }
    unsafe methods.pointee.xFileSize = { file, size in unsafe SteeredLayer.call(file) { unsafe $0.xFileSize($1, size) }
    }
    unsafe methods.pointee.xLock = { file, level in unsafe SteeredLayer.call(file) { unsafe $0.xLock($1, level) } }
    unsafe methods.pointee.xUnlock = { file, level in unsafe SteeredLayer.past(file) { unsafe $0.xUnlock($1, level) } }
    unsafe methods.pointee.xCheckReservedLock = { file, answer in
      unsafe SteeredLayer.past(file) { unsafe $0.xCheckReservedLock($1, answer) }
    }
    unsafe methods.pointee.xFileControl = { file, operation, argument in
      unsafe SteeredLayer.past(file) { unsafe $0.xFileControl($1, operation, argument) }
    }
    unsafe methods.pointee.xSectorSize = { file in unsafe SteeredLayer.past(file) { unsafe $0.xSectorSize($1) } }
    unsafe methods.pointee.xDeviceCharacteristics = { file in
      unsafe SteeredLayer.past(file) { unsafe $0.xDeviceCharacteristics($1) }
    }
    // Memory that connections share, and locks in it: what is let go with the process needs no fault of its own.
    unsafe methods.pointee.xShmMap = { file, region, size, extends, answer in
      unsafe SteeredLayer.past(file) { unsafe $0.xShmMap($1, region, size, extends, answer) }
    }
    unsafe methods.pointee.xShmLock = { file, offset, count, flags in
      unsafe SteeredLayer.past(file) { unsafe $0.xShmLock($1, offset, count, flags) }
    }
    unsafe methods.pointee.xShmBarrier = { file in
      _ = unsafe SteeredLayer.past(file) {
        unsafe $0.xShmBarrier($1); return SQLITE_OK
      }
    }
    unsafe methods.pointee.xShmUnmap = { file, deletes in
      unsafe SteeredLayer.past(file) { unsafe $0.xShmUnmap($1, deletes) }
    }
    return unsafe methods
  }
}
