/// SHAKE-128 (FIPS 202), for the accumulated test vectors; slow and simple.
struct Shake128 {
  private static let rate = 168
  private var state = [UInt64](repeating: 0, count: 25)
  private var position = 0
  private var isSqueezing = false

  private static let rounds: [UInt64] = {
    // The round constants come from a linear feedback shift register (FIPS 202, algorithm 5).
    var register: UInt8 = 1
    return (0..<24).map { _ in
      var constant: UInt64 = 0
      for exponent in 0..<7 {
        if register & 1 == 1 { constant ^= 1 << UInt64((1 << exponent) - 1) }
        register = register << 1 ^ (register & 0x80 != 0 ? 0x71 : 0)
      }
      return constant
    }
  }()

  mutating func absorb(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { absorb(byte) }
  }

  private mutating func absorb(_ byte: UInt8) {
    state[position / 8] ^= UInt64(byte) << UInt64(8 * (position % 8))
    position += 1
    if position == Self.rate {
      permute()
      position = 0
    }
  }

  mutating func squeeze(_ count: Int) -> [UInt8] {
    if !isSqueezing {
      state[position / 8] ^= 0x1f << UInt64(8 * (position % 8))
      state[Self.rate / 8 - 1] ^= 0x80 << 56
      permute()
      (position, isSqueezing) = (0, true)
    }
    return (0..<count).map { _ in
      if position == Self.rate {
        permute()
        position = 0
      }
      defer { position += 1 }
      return UInt8(truncatingIfNeeded: state[position / 8] >> UInt64(8 * (position % 8)))
    }
  }

  private mutating func permute() {
    unsafe state.withUnsafeMutableBufferPointer { a in
      var columns: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
      for round in Self.rounds {
        unsafe columns.0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20]
        unsafe columns.1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21]
        unsafe columns.2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22]
        unsafe columns.3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23]
        unsafe columns.4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24]
        let c = columns
        var y = 0
        while y < 25 {
          unsafe a[y] ^= c.4 ^ (c.1 << 1 | c.1 >> 63)
          unsafe a[y + 1] ^= c.0 ^ (c.2 << 1 | c.2 >> 63)
          unsafe a[y + 2] ^= c.1 ^ (c.3 << 1 | c.3 >> 63)
          unsafe a[y + 3] ^= c.2 ^ (c.4 << 1 | c.4 >> 63)
          unsafe a[y + 4] ^= c.3 ^ (c.0 << 1 | c.0 >> 63)
          y += 5
        }
        var moved = unsafe a[1]
        var (x, row, step) = (1, 0, 0)
        while step < 24 {
          (x, row) = (row, (2 * x + 3 * row) % 5)
          let shift = UInt64((step + 1) * (step + 2) / 2 % 64)
          let next = unsafe a[x + 5 * row]
          unsafe a[x + 5 * row] = moved << shift | moved >> ((64 - shift) & 63)
          moved = next
          step += 1
        }
        y = 0
        while y < 25 {
          let r = unsafe (a[y], a[y + 1], a[y + 2], a[y + 3], a[y + 4])
          unsafe a[y] = r.0 ^ (~r.1 & r.2)
          unsafe a[y + 1] = r.1 ^ (~r.2 & r.3)
          unsafe a[y + 2] = r.2 ^ (~r.3 & r.4)
          unsafe a[y + 3] = r.3 ^ (~r.4 & r.0)
          unsafe a[y + 4] = r.4 ^ (~r.0 & r.1)
          y += 5
        }
        unsafe a[0] ^= round
      }
    }
  }
}
