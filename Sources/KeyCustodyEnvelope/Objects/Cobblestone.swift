internal import KeyCustody
internal import KeyCustodyCrypto

/// The measures of Cobblestone-256 (c2sp.org/chunked-encryption), behind our header.
enum Cobblestone {
  static let saltLength = 24
  static let commitmentLength = 32
  static let chunkLength = 16 << 10
  static let sealedChunkLength = chunkLength + AES256GCM.tagLength
  /// Header, salt and commitment.
  static let preludeLength = SealedHeader.length + saltLength + commitmentLength
  /// The specification counts chunks in 38 bits.
  static let maximumChunkCount: UInt64 = 1 << 38
  static let label = Array("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM".utf8) + [0]
  /// What is worked on in one go: a destroyed key waits for that much at most.
  static let runLength = 2 << 20

  static func requireRoom(_ index: UInt64) throws(KeyCustodyError) {
    guard index < maximumChunkCount else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "An object has 4 PiB at most.")
    }
  }

  /// The length of the chunks of an object with that much content, without what stands before them.
  static func sealedLength(content: Int64) -> Int64 {
    content + Int64(AES256GCM.tagLength) * (content / Int64(chunkLength) + 1)
  }

  /// The length of an object's content, from the length of its sealed form; `nil` for a length that can't be.
  static func contentLength(sealed: Int64) -> Int64? {
    let body = sealed - Int64(preludeLength)
    let (full, last) = body.quotientAndRemainder(dividingBy: Int64(sealedChunkLength))
    guard body > 0, last >= Int64(AES256GCM.tagLength), UInt64(full) < maximumChunkCount else { return nil }
    return full * Int64(chunkLength) + last - Int64(AES256GCM.tagLength)
  }
}
