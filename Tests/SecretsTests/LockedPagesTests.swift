import KeyCustodyTesting
import Testing

@testable import KeyCustody

/// The pages that small secrets lie in.
struct LockedPagesTests {
  /// Pages whose blocks are named by their addresses.
  private struct Bench: ~Copyable {
    private var pages: LockedPages
    init(_ capacity: Int) { pages = LockedPages(capacity: capacity) }

    var blocks: Int { pages.blocks }
    var lockedBytes: Int { pages.lockedBytes }
    var isAtLimit: Bool { pages.isAtLimit }
    mutating func take(_ count: Int) -> UInt? {
      let pointer = unsafe pages.take(count)
      return unsafe pointer.map { UInt(bitPattern: $0) }
    }
    mutating func giveBack(_ address: UInt) {
      if let pointer = unsafe UnsafeMutableRawPointer(bitPattern: address) { unsafe pages.giveBack(pointer) }
    }
    func contains(_ address: UInt) -> Bool {
      guard let pointer = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return false }
      return unsafe pages.contains(pointer)
    }
    static func fill(_ address: UInt, _ count: Int, with byte: UInt8) {
      let pointer = unsafe UnsafeMutableRawPointer(bitPattern: address)
      _ = unsafe pointer?.initializeMemory(as: UInt8.self, repeating: byte, count: count)
    }
    static func isFilled(_ address: UInt, _ count: Int, with byte: UInt8) -> Bool {
      let pointer = unsafe UnsafeRawPointer(bitPattern: address)
      return unsafe UnsafeRawBufferPointer(start: pointer, count: count).allSatisfy { $0 == byte }
    }
  }

  @Test("Blocks are aligned, zero, and no two share a byte, whatever is taken and given back in whatever order")
  func blocks() throws {
    var bench = Bench(4 << 20)
    let random = SeededRandom(seed: 7)
    var held: [(address: UInt, count: Int)] = []
    var most = 0
    for step in 0..<20_000 {
      let dice = try random.bytes(4)
      let number = Int(dice[1]) << 8 | Int(dice[2])
      if held.count > 400 || (!held.isEmpty && dice[0] < 110) {
        let block = held.remove(at: number % held.count)
        let isOwn = Bench.isFilled(block.address, block.count, with: UInt8(truncatingIfNeeded: block.count))
        #expect(isOwn, "step \(step)")
        Bench.fill(block.address, block.count, with: 0)
        bench.giveBack(block.address)
      } else {
        let count = 1 + number % (dice[3] < 200 ? 64 : 4096)
        let taken = bench.take(count)
        let address = try #require(taken)
        let isInside = bench.contains(address)
        #expect(address % 16 == 0 && isInside && Bench.isFilled(address, count, with: 0), "step \(step)")
        Bench.fill(address, count, with: UInt8(truncatingIfNeeded: count))
        held.append((address, count))
        most = max(most, held.reduce(0) { $0 + $1.count })
      }
      let blocks = bench.blocks
      #expect(blocks == held.count)
    }
    #expect(most > 100_000, "hardly anything was held")
  }

  @Test("Emptied pages serve other sizes: no order of sizes needs more than a page of each size beyond what is in use")
  func noFragmentation() throws {
    let capacity = 1 << 20
    var bench = Bench(capacity)
    for _ in 0..<5 {
      for shift in 4...12 {
        // Nearly all there is, in blocks of one size, and then of the next.
        var held: [UInt] = []
        for _ in 0..<((capacity - 9 * 4096) >> shift) {
          let taken = bench.take(1 << shift)
          held.append(try #require(taken, "blocks of \(1 << shift) bytes"))
        }
        for address in held.reversed() { bench.giveBack(address) }
      }
    }
    let (blocks, locked) = (bench.blocks, bench.lockedBytes)
    #expect(blocks == 0)
    #expect(locked <= capacity)
  }

  @Test("When there is no more to lock, nothing is handed out until something comes back")
  func exhaustion() throws {
    var bench = Bench(4 * 4096)
    var held: [UInt] = []
    while let address = bench.take(32) { held.append(address) }
    #expect(held.count == 4 * 4096 / 32)
    let isAtLimit = bench.isAtLimit
    #expect(isAtLimit)
    let page = bench.take(4096)
    #expect(page == nil)
    let newest = held.popLast()
    let last = try #require(newest)
    bench.giveBack(last)
    let small = bench.take(16)
    #expect(small == nil, "the page is still one of 32-byte blocks")
    let again = bench.take(20)
    #expect(again == last)
    var none = Bench(0)
    let nothing = none.take(1)
    #expect(nothing == nil)
  }

  @Test("Threads that take and keep secrets at once never see each other's bytes")
  func threads() async {
    await withTaskGroup(of: Bool.self) { group in
      for number in 0..<8 {
        group.addTask {
          var isRight = true
          for round in 0..<5000 {
            let count = 1 + (round * 37 + number) % 200
            let mark = UInt8(truncatingIfNeeded: number &* 31 &+ round)
            let secret = SecretBytes(count: count) { span in
              for index in 0..<count { span.storeBytes(of: mark, toByteOffset: index, as: UInt8.self) }
            }
            let copy = secret.copy()
            isRight = isRight && copy.isEqual(to: secret)
            isRight = isRight && secret.withBytes { bytes in (0..<count).allSatisfy { bytes[$0] == mark } }
          }
          return isRight
        }
      }
      for await isRight in group { #expect(isRight) }
    }
  }

  @Test("A secret counts as locked or as ordinary while it lives, large ones too, and the report adds up")
  func report() {
    let secret = SecretBytes(count: 32) { _ in }
    let large = SecretBytes(count: 100_000) { _ in }
    let report = SecretMemory.examine()
    #expect(report.lockedSecrets + report.ordinarySecrets >= 2)
    if report.lockedSecrets > 0 { #expect(report.lockedBytes > 0) }
    if report.limit == nil { #expect(report.lockedBytes >= 100_000) }
    #expect(secret.count + large.count == 100_032)
  }
}
