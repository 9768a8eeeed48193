import Glibc
import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Secret bytes")
struct SecretBytesTests {
  @Test("A secret lends what it was filled with")
  func lends() {
    let secret = SecretBytes(copying: [1, 2, 3])
    #expect(secret.count == 3)
    #expect(plain(secret) == [1, 2, 3])
  }

  @Test("An empty secret is one")
  func empty() {
    let secret = SecretBytes(copying: [UInt8]())
    let copy = secret.copy()
    let isEqual = secret.isEqual(to: copy)
    #expect(secret.count == 0)
    #expect(plain(secret) == [])
    #expect(isEqual)
  }

  @Test("It begins as zero bytes, whatever the memory held before")
  func startsAtZero() {
    for _ in 0..<50 {
      _ = SecretBytes(copying: [UInt8](repeating: 0xff, count: 333))
      let fresh = SecretBytes(count: 333) { _ in }
      #expect(plain(fresh) == [UInt8](repeating: 0, count: 333))
    }
  }

  @Test("A copy is equal and has an owner of its own")
  func copies() {
    func copied() -> SecretBytes { SecretBytes(copying: [7, 8, 9]).copy() }
    #expect(plain(copied()) == [7, 8, 9])
  }

  @Test("Secrets are equal when length and every byte are")
  func equality() {
    let base = [UInt8](repeating: 0x11, count: 32)
    let secret = SecretBytes(copying: base)
    for index in base.indices {
      for bit in UInt8(0)..<8 {
        var other = base
        other[index] ^= 1 << bit
        let isEqual = secret.isEqual(to: SecretBytes(copying: other))
        #expect(!isEqual)
        #expect(!constantTimeEqual(base, other))
      }
    }
    #expect(constantTimeEqual(base, base))
    #expect(constantTimeEqual([UInt8](), []))
    #expect(!constantTimeEqual(base, base + [0]))
    #expect(!constantTimeEqual(base, []))
    let longer = secret.isEqual(to: SecretBytes(copying: base + [0]))
    #expect(!longer)
  }

  @Test("When filling fails the error comes through")
  func failingInitializer() {
    let failure = KeyCustodyError(.fault, .internalFault, "No randomness.")
    #expect(throws: failure) {
      _ = try SecretBytes(count: 16) { (_: inout MutableRawSpan) throws(KeyCustodyError) in throw failure }
    }
    #expect(throws: KeyCustodyError.self) { _ = try FixedRandom([1]).secret(2) }
  }

  @Test("Memory is cleared when the owner lets go")
  func cleared() throws {
    let (address, before) = try rememberAddress()
    // By chance one byte in 256 fits, and the allocator may use the memory again.
    let after = try Self.matches(at: address)
    #expect(before == Self.count, "the test must read where the secret is")
    #expect(after < Self.count / 16)
  }

  private func rememberAddress() throws -> (address: UInt, matches: Int) {
    let secret = SecretBytes(count: Self.count) { span in Self.fill(&span) }
    let address = secret.withBytes { bytes in
      unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
    return (address, try Self.matches(at: address))
  }

  @Test("Memory is cleared when filling fails")
  func clearedAfterFailure() throws {
    struct Stop: Error {}
    var address: UInt = 0
    do {
      _ = try SecretBytes(count: Self.count) { (span: inout MutableRawSpan) throws(Stop) in
        Self.fill(&span)
        address = unsafe span.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
        throw Stop()
      }
      Issue.record("It should have thrown.")
    } catch {}
    #expect(address != 0)
    #expect(try Self.matches(at: address) < Self.count / 16)
  }

  private static let count = 8000

  private static func pattern(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 37 &+ 11 &+ index >> 8) }

  private static func fill(_ span: inout MutableRawSpan) {
    for index in 0..<count { span.storeBytes(of: pattern(index), toByteOffset: index, as: UInt8.self) }
  }

  /// How many bytes at an address are the pattern's; read through the kernel, so that freed memory may be read.
  private static func matches(at address: UInt) throws -> Int {
    let file = unsafe open("/proc/self/mem", O_RDONLY | O_CLOEXEC)
    try #require(file >= 0)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: count)
    let got = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe pread(file, buffer.baseAddress, count, Int(bitPattern: address))
    }
    return bytes.prefix(max(0, got)).enumerated().filter { $0.element == pattern($0.offset) }.count
  }
}

/// The bytes of a secret that is none.
private func plain(_ secret: borrowing SecretBytes) -> [UInt8] {
  secret.withBytes { bytes in
    (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
  }
}
