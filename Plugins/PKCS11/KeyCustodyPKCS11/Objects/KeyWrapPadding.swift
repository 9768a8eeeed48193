import KeyCustody
import KeyCustodyCrypto

/// AES key wrap with padding (RFC 5649), the host's half: how a PKCS#8 key travels into a token.
enum KeyWrapPadding {
  /// Wraps up to 64 KiB under a key of 32 bytes.
  static func wrap(_ secret: borrowing SecretBytes, key: RawSpan) throws(KeyCustodyError) -> [UInt8] {
    precondition((9...65_536).contains(secret.count), "one block is another form, and no private key is that short")
    var cipher = try AES256Block(key: key)
    let padded = (secret.count + 7) / 8 * 8
    let blocks = padded / 8
    // Room for the integrity value and the padded secret, and at the end for the block in work.
    let memory = try SecretBytes(count: 8 + padded + 16) { (buffer: inout MutableRawSpan) throws(KeyCustodyError) in
      buffer.storeBytes(of: UInt32(0xa659_59a6).bigEndian, toByteOffset: 0, as: UInt32.self)
      buffer.storeBytes(of: UInt32(secret.count).bigEndian, toByteOffset: 4, as: UInt32.self)
      secret.withBytes { bytes in
        for index in 0..<bytes.byteCount {
          buffer.storeBytes(of: bytes[index], toByteOffset: 8 + index, as: UInt8.self)
        }
      }
      try unsafe buffer.withUnsafeMutableBytes { (buffer) throws(KeyCustodyError) in
        let work = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(8 + padded)...])
        for step in 1...(6 * blocks) {
          let offset = ((step - 1) % blocks + 1) * 8
          unsafe work.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[0..<8]))
          unsafe UnsafeMutableRawBufferPointer(rebasing: work[8...]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + 8]))
          var block = unsafe work.mutableBytes
          try cipher.encrypt(&block)
          let integrity = unsafe UInt64(bigEndian: work.load(as: UInt64.self)) ^ UInt64(step)
          unsafe buffer.storeBytes(of: integrity.bigEndian, as: UInt64.self)
          unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + 8]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: work[8...]))
        }
      }
    }
    return memory.withBytes { bytes in (0..<8 + padded).map { bytes[$0] } }
  }
}
