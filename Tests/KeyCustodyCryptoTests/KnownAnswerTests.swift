import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// Answers that others published.
struct KnownAnswerTests {
  /// RFC 3394, sections 4.3, 4.5 and 4.6: those under a 256-bit key.
  private static let keyWrap = [
    ("00112233445566778899aabbccddeeff", "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
    (
      "00112233445566778899aabbccddeeff0001020304050607",
      "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"
    ),
    (
      "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
      "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    ),
  ]

  @Test("AES key wrap gives the answers of RFC 3394", arguments: keyWrap)
  func aesKeyWrap(plain: String, wrapped: String) throws {
    let key = Array(UInt8(0)..<32)
    let (plain, wrapped) = (try bytes(plain), try bytes(wrapped))
    #expect(try wrap(plain, key) == wrapped)
    #expect(try unwrap(wrapped, key) == plain)
    for index in wrapped.indices {
      var changed = wrapped
      changed[index] ^= 0x80
      #expect(throws: KeyCustodyError.notAuthenticWrap) { try unwrap(changed, key) }
    }
  }

  /// RFC 4231, sections 4.2, 4.3, 4.4 and 4.7: key, data, HMAC-SHA-256, HMAC-SHA-512.
  private static let hmacCases: [(key: String, data: String, sha256: String, sha512: String)] = [
    (
      String(repeating: "0b", count: 20), "4869205468657265",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        + "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
    ),
    (
      "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        + "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    ),
    (
      String(repeating: "aa", count: 20), String(repeating: "dd", count: 50),
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
      "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
        + "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"
    ),
    (
      String(repeating: "aa", count: 131),
      "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
        + "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
    ),
  ]

  @Test("HMAC gives the answers of RFC 4231", arguments: hmacCases)
  func hmacs(key: String, data: String, sha256: String, sha512: String) throws {
    let key = SecretBytes(copying: try bytes(key))
    let data = try bytes(data)
    // In one part and in two.
    for parts in [[data], [Array(data.prefix(3)), Array(data.dropFirst(3))]] {
      let short = try key.withBytes { key in try Hashing.hmac(.sha256, key: key, parts) }
      let long = try key.withBytes { key in try Hashing.hmac(.sha512, key: key, parts) }
      #expect(short.array.hexadecimal == sha256)
      #expect(long.array.hexadecimal == sha512)
    }
  }

  /// RFC 5869, appendix A.1 to A.3: PRK, info, OKM.
  private static let expand = [
    (
      "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5", "f0f1f2f3f4f5f6f7f8f9",
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    ),
    (
      "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
      Array(UInt8(0xb0)...0xff).hexadecimal,
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        + "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    ),
    (
      "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04", "",
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    ),
  ]

  @Test("HKDF-Expand gives the answers of RFC 5869", arguments: expand)
  func hkdfExpand(prk: String, info: String, okm: String) throws {
    let key = SecretBytes(copying: try bytes(prk))
    let info = try bytes(info)
    let okm = try bytes(okm)
    for count in [1, 31, 32, 33, okm.count] where count <= okm.count {
      let found = try key.withBytes { key in try Hashing.expand(.sha256, key: key, info: info, count: count) }
      #expect(found.array == Array(okm.prefix(count)))
    }
  }

  /// The test cases 13 to 16 of "The Galois/Counter Mode of Operation (GCM)", McGrew and Viega, appendix B.
  private static let gcmCases: [(key: String, nonce: String, extra: String, plain: String, sealed: String)] = [
    (
      String(repeating: "00", count: 32), String(repeating: "00", count: 12), "", "",
      "530f8afbc74536b9a963b4f1c4cb738b"
    ),
    (
      String(repeating: "00", count: 32), String(repeating: "00", count: 12), "",
      String(repeating: "00", count: 16), "cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919"
    ),
    (
      "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
        + "b16aedf5aa0de657ba637b391aafd255",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
        + "c5f61e6393ba7a0abcc9f662898015ad" + "b094dac5d93471bdec1a502270e3cc6c"
    ),
    (
      "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
      "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
        + "b16aedf5aa0de657ba637b39",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
        + "c5f61e6393ba7a0abcc9f662" + "76fc6ece0f4e1768cddf8853bb2d551b"
    ),
  ]

  @Test("AES-256-GCM gives the answers of its authors, and opens nothing that was changed", arguments: gcmCases)
  func aesGCM(key: String, nonce: String, extra: String, plain: String, sealed: String) throws {
    let (key, nonce, extra) = (try bytes(key), try bytes(nonce), try bytes(extra))
    let (plain, sealed) = (try bytes(plain), try bytes(sealed))
    #expect(try gcmSeal(plain, key, nonce, extra) == sealed)
    #expect(try gcmOpen(sealed, key, nonce, extra) == plain)
    for index in sealed.indices {
      var changed = sealed
      changed[index] ^= 1
      #expect(try gcmOpen(changed, key, nonce, extra) == nil)
    }
    #expect(try gcmOpen(sealed, key, nonce, extra + [0]) == nil)
  }

  @Test("PBKDF2-HMAC-SHA-512 with a salt and rounds that SP 800-132 allows gives Python's answer")
  func pbkdf2Allowed() throws {
    let key = try Hashing.pbkdf2(
      passphrase: SecretBytes(copying: Array("correct horse battery".utf8)), salt: Array("sixteen bytes of".utf8),
      iterations: 1000)
    #expect(key.array.hexadecimal == "61451666b330394bd8dc609975096a84d715fb1d99c6fef55b8119c76e1a1f34")
  }

  @Test(
    "PBKDF2-HMAC-SHA-512 gives the answer that OpenSSL's and Python's users check against",
    .disabled(if: FIPSRun.isOn, "the module refuses a salt of 4 bytes and 1 round (SP 800-132)"))
  func pbkdf2() throws {
    // 'password', 'salt', 1 round: the SHA-512 form of RFC 6070's first case, as hashlib.pbkdf2_hmac answers it.
    let one = try Hashing.pbkdf2(
      passphrase: SecretBytes(copying: Array("password".utf8)), salt: Array("salt".utf8), iterations: 1)
    #expect(one.array.hexadecimal == "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252")
    let two = try Hashing.pbkdf2(
      passphrase: SecretBytes(copying: Array("password".utf8)), salt: Array("salt".utf8), iterations: 2)
    #expect(two.array.hexadecimal == "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c")
  }

  @Test("SHA-2 gives the answers of FIPS 180 for 'abc'")
  func digests() throws {
    let text = Array("abc".utf8)
    #expect(
      try Hashing.sha256(text).hexadecimal == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      try Hashing.digest(.sha384, [0x61], [0x62, 0x63]).hexadecimal
        == "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7")
    #expect(
      try Hashing.digest(.sha512, text).hexadecimal
        == "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f")
  }
}
