@testable import KeyCustody
@testable import KeyCustodyCrypto

extension FuzzTarget {
  private static let master = secret(8)
  private static let originals: [[UInt8]] = [KeyType.aes(bits: 256), .ec(.p256)].map { type in
    made {
      let material = type == .aes(bits: 256) ? pattern(32) : sampleKey
      let key = try SoftwareKey.read(SecretBytes(copying: material), as: type)
      let description = KeyDescription(
        version: try KeyVersionID("000102030405060708090a0b0c0d0e0f"), type: type,
        role: type == .aes(bits: 256) ? .wrapping : .signing,
        publicKey: try key.publicKey(), fingerprint: try key.fingerprint(), origin: .imported,
        isHardwareProtected: false)
      return try SealedSoftwareKey.seal(
        SoftwareKeyRecord(description: description, key: key), for: .file, under: master,
        random: PatternRandom(number: 9))
    }
  }

  /// Sealed software keys, as files and backups hold them: none opens but the untouched one.
  ///
  /// The first byte chooses bare input or edits of an original.
  static let sealedKey = FuzzTarget(
    name: "sealed-key",
    seeds: { originals.map { [0] + $0 } + [[1], [3], [1, 0, 8, 0, 0, 1], Array("\u{0}KCSK\u{1}".utf8)] },
    run: { input in
      guard let mode = input.first else { return }
      let blob =
        mode & 1 == 1
        ? EditScript.apply(input.dropFirst(), to: originals[Int(mode >> 1) % originals.count], unit: 16)
        : Array(input.dropFirst())
      let opened = allowing([.integrityFailure]) {
        let opened = try SealedSoftwareKey(blob, for: .file, under: master)
        return try opened.record().description.type
      }
      let isOriginal = originals.contains(blob)
      require((opened != nil) == isOriginal, isOriginal ? "an original does not open" : "a forgery opens")
      let other = allowing([.integrityFailure]) {
        try SealedSoftwareKey(blob, for: .backup, under: master).description.type
      }
      require(other == nil, "a file's key opens as a backup")
    })
}
