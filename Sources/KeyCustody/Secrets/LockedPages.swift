#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Pages that never go to swap nor into a core dump, cut into blocks for small secrets.
///
/// A page holds blocks of one size, a power of two from 16 to 4096 bytes. Address space is reserved once; pages of it
/// are locked as they are needed, as far as the system allows. A page whose last block is given back may serve another
/// size later, so that no pattern of use keeps more than a page of each size beyond what is in use.
/// They are not wiped on fork: a child that goes on with its parent's keys would find zero bytes for keys. Nor are they
/// locked in the child; see ``SecretPool``.
@safe
struct LockedPages: ~Copyable {
  static let pageSize = 4096
  /// Larger secrets get pages of their own.
  static let largestBlock = 4096
  private static let smallestShift = 4
  private static let none: Int32 = -1

  /// What is known of a page.
  private struct Page {
    /// The size of its blocks, as a power of two.
    var shift: UInt8 = 0
    var used: Int16 = 0
    /// A bit for each block in use.
    var bits: InlineArray<4, UInt64> = [0, 0, 0, 0]
    var next: Int32 = LockedPages.none
    var previous: Int32 = LockedPages.none
  }

  private let base: UnsafeMutableRawPointer?
  private let capacity: Int
  private var pages: [Page] = []
  private var freePages: [Int32] = []
  /// For each size, the first of the pages that have a free block.
  private var heads = [Int32](repeating: LockedPages.none, count: 9)
  /// How often locking was refused since it last succeeded.
  private var refusals = 0
  /// The blocks in use.
  private(set) var blocks = 0

  /// Reserves address space for so many bytes; nothing is locked yet.
  init(capacity bytes: Int) {
    let size = bytes / Self.pageSize * Self.pageSize
    let start = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard size > 0, let start = unsafe start, unsafe start != MAP_FAILED else {
      unsafe base = nil
      capacity = 0
      return
    }
    // Advice alone: a kernel without it has core dumps that the executable switches off.
    unsafe madvise(start, size, MADV_DONTDUMP)
    unsafe base = start
    capacity = size / Self.pageSize
  }

  /// The bytes that are locked.
  var lockedBytes: Int { pages.count * Self.pageSize }
  /// Whether the system refused to lock more when it was last asked, or all that was reserved is locked.
  var isAtLimit: Bool { refusals > 0 || pages.count == capacity }

  /// Whether an address is one of these pages'.
  func contains(_ address: UnsafeMutableRawPointer) -> Bool {
    guard let base = unsafe base else { return false }
    return unsafe address >= base && address < base + capacity * Self.pageSize
  }

  /// A block of zero bytes for `count` bytes, at most ``largestBlock``; `nil` when no more can be locked.
  mutating func take(_ count: Int) -> UnsafeMutableRawPointer? {
    guard let base = unsafe base else { return nil }
    let shift = max(Self.smallestShift, Int.bitWidth - (max(count, 1) - 1).leadingZeroBitCount)
    let row = shift - Self.smallestShift
    if heads[row] == Self.none {
      guard let fresh = freePages.popLast() ?? grow() else { return nil }
      pages[Int(fresh)] = Page(shift: UInt8(shift))
      link(fresh, row)
    }
    let index = Int(heads[row])
    let total = Self.pageSize >> shift
    var word = 0
    while pages[index].bits[word] == .max { word += 1 }
    let bit = (~pages[index].bits[word]).trailingZeroBitCount
    pages[index].bits[word] |= 1 << UInt64(bit)
    pages[index].used += 1
    blocks += 1
    if Int(pages[index].used) == total { unlink(Int32(index), row) }
    return unsafe base + index * Self.pageSize + (word * 64 + bit) << shift
  }

  /// Takes a block back, which its owner has cleared.
  mutating func giveBack(_ block: UnsafeMutableRawPointer) {
    guard let base = unsafe base else { return }
    let offset = unsafe block - base
    let index = offset / Self.pageSize
    let shift = Int(pages[index].shift)
    let row = shift - Self.smallestShift
    let number = (offset % Self.pageSize) >> shift
    let wasFull = Int(pages[index].used) == Self.pageSize >> shift
    pages[index].bits[number / 64] &= ~(1 << UInt64(number % 64))
    pages[index].used -= 1
    blocks -= 1
    if wasFull { link(Int32(index), row) }
    // One empty page of a size stays with it, or taking and giving back one block would move it each time.
    let isOnly = heads[row] == Int32(index) && pages[index].next == Self.none
    if pages[index].used == 0, !isOnly {
      unlink(Int32(index), row)
      freePages.append(Int32(index))
    }
  }

  private mutating func link(_ page: Int32, _ row: Int) {
    pages[Int(page)].previous = Self.none
    pages[Int(page)].next = heads[row]
    if heads[row] != Self.none { pages[Int(heads[row])].previous = page }
    heads[row] = page
  }

  private mutating func unlink(_ page: Int32, _ row: Int) {
    let (next, previous) = (pages[Int(page)].next, pages[Int(page)].previous)
    if next != Self.none { pages[Int(next)].previous = previous }
    if previous == Self.none { heads[row] = next } else { pages[Int(previous)].next = next }
  }

  /// Locks more pages, and answers one of them; fewer at a time near the limit.
  private mutating func grow() -> Int32? {
    if refusals > 0 {
      // The limit may be raised, or others may unlock theirs; asked now and then.
      refusals += 1
      guard refusals.isMultiple(of: 1024) else { return nil }
    }
    guard let base = unsafe base else { return nil }
    for count in [16, 4, 1] where pages.count + count <= capacity {
      let start = unsafe base + pages.count * Self.pageSize
      guard unsafe mlock(start, count * Self.pageSize) == 0 else { continue }
      refusals = 0
      let first = Int32(pages.count)
      for number in 0..<count {
        pages.append(Page())
        if number > 0 { freePages.append(first + Int32(number)) }
      }
      return first
    }
    refusals = max(refusals, 1)
    return nil
  }

  deinit {
    guard let base = unsafe base else { return }
    unsafe munmap(base, capacity * Self.pageSize)
  }
}
