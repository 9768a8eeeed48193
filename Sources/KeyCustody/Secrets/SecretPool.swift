import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The memory that one process has for its secrets.
///
/// A copy that `fork` makes inherits the bytes but no lock on them, and finds the mutex of its parent's pages held for
/// ever where another thread held it. So it leaves the parent's pool alone and has one of its own from its first use on;
/// what it inherited counts as ordinary there.
struct SecretPool: ~Copyable, Sendable {
  /// Address space for more small secrets than 100,000 resources in use have; locked as needed.
  private static let capacity = 64 << 20
  // Unsafe: pointers, to pools that any thread may use and that live as long as the process does. Not references, whose
  // counts every thread that takes a secret would write to.
  private nonisolated(unsafe) static let newest = unsafe Atomic(make(inheriting: 0))

  /// The process whose it is; see ``ForkCounter``.
  private let process = ForkCounter.current
  private let pages = Mutex(LockedPages(capacity: capacity))
  /// The blocks of `pages` in use: written under their lock, and read without it.
  private let blocks = Atomic<Int>(0)
  private let ordinary: Atomic<Int>
  private let largeLocked = Atomic<Int>(0)
  private let largeLockedBytes = Atomic<Int>(0)

  private init(inheriting secrets: Int) { ordinary = Atomic(secrets) }

  private static func make(inheriting secrets: Int) -> UnsafeMutablePointer<SecretPool> {
    let pool = UnsafeMutablePointer<SecretPool>.allocate(capacity: 1)
    unsafe pool.initialize(to: SecretPool(inheriting: secrets))
    return unsafe pool
  }

  /// This process's.
  static var current: UnsafeMutablePointer<SecretPool> {
    let known = unsafe newest.load(ordering: .acquiring)
    return unsafe known.pointee.process == ForkCounter.current ? known : replacement(of: known)
  }

  /// A copy's own pool, in place of its parent's.
  private static func replacement(
    of parent: UnsafeMutablePointer<SecretPool>
  ) -> UnsafeMutablePointer<SecretPool> {
    let fresh = unsafe make(inheriting: parent.pointee.secrets)
    let (isFirst, known) = unsafe newest.compareExchange(
      expected: parent, desired: fresh, ordering: .acquiringAndReleasing)
    guard !isFirst else { return unsafe fresh }
    // Another thread of the copy was first.
    unsafe fresh.deinitialize(count: 1)
    unsafe fresh.deallocate()
    return unsafe known
  }

  private var lockedSecrets: Int { blocks.load(ordering: .relaxed) + largeLocked.load(ordering: .relaxed) }
  private var secrets: Int { lockedSecrets + ordinary.load(ordering: .relaxed) }

  /// How its secrets are kept just now, where the system lets a process lock `limit` bytes.
  func report(limit: Int?) -> SecretMemory.Report {
    let (bytes, isAtLimit) = pages.withLock { pages in (pages.lockedBytes, pages.isAtLimit) }
    return SecretMemory.Report(
      lockedBytes: bytes + largeLockedBytes.load(ordering: .relaxed), lockedSecrets: lockedSecrets,
      ordinarySecrets: ordinary.load(ordering: .relaxed), limit: limit, isAtLimit: isAtLimit)
  }

  /// Where a secret's memory came from.
  struct Origin {
    fileprivate enum Place {
      /// Shared locked pages.
      case shared
      /// Pages of its own.
      case own(isLocked: Bool)
      /// The heap.
      case heap
    }
    /// The process that took it.
    fileprivate let process: Int
    fileprivate let place: Place
  }

  /// Zero bytes for a secret.
  func take(_ count: Int) -> (UnsafeMutableRawPointer, Origin) {
    if count > LockedPages.largestBlock {
      if let (start, origin) = unsafe takeLarge(count) { return unsafe (start, origin) }
    } else if count > 0 {
      // As a number, since no pointer may leave the lock.
      let address = pages.withLock { pages in
        let block = unsafe pages.take(count)
        blocks.store(pages.blocks, ordering: .relaxed)
        return UInt(bitPattern: block)
      }
      if let block = unsafe UnsafeMutableRawPointer(bitPattern: address) {
        return unsafe (block, Origin(process: process, place: .shared))
      }
    }
    let size = max(count, 1)
    let pointer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
    unsafe memset(pointer, 0, size)
    if count > 0 { ordinary.add(1, ordering: .relaxed) }
    return unsafe (pointer, Origin(process: process, place: .heap))
  }

  private func takeLarge(_ count: Int) -> (UnsafeMutableRawPointer, Origin)? {
    let start = unsafe mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start = unsafe start, unsafe start != MAP_FAILED else { return nil }
    unsafe madvise(start, count, MADV_DONTDUMP)
    let isLocked = unsafe mlock(start, count) == 0
    if isLocked {
      largeLocked.add(1, ordering: .relaxed)
      largeLockedBytes.add(count, ordering: .relaxed)
    } else {
      ordinary.add(1, ordering: .relaxed)
    }
    return unsafe (start, Origin(process: process, place: .own(isLocked: isLocked)))
  }

  /// Clears a secret's memory and takes it back.
  func giveBack(_ pointer: UnsafeMutableRawPointer, _ count: Int, _ origin: Origin) {
    unsafe explicit_bzero(pointer, count)
    let isInherited = origin.process != process
    switch origin.place {
    case .shared:
      // An inherited block stays where it is: its pages belong to the parent's pool.
      guard !isInherited else { break }
      let address = UInt(bitPattern: pointer)
      pages.withLock { pages in
        if let block = unsafe UnsafeMutableRawPointer(bitPattern: address) { unsafe pages.giveBack(block) }
        blocks.store(pages.blocks, ordering: .relaxed)
      }
      return
    case .own(let isLocked):
      unsafe munmap(pointer, count)
      if isLocked, !isInherited {
        largeLocked.subtract(1, ordering: .relaxed)
        largeLockedBytes.subtract(count, ordering: .relaxed)
        return
      }
    case .heap: unsafe pointer.deallocate()
    }
    if count > 0 { ordinary.subtract(1, ordering: .relaxed) }
  }
}
