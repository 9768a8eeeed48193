import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// The attributes of a private or secret key, as read.
struct KeyAttributes {
  let values: [CK_ATTRIBUTE_TYPE: [UInt8]]

  init(_ values: [CK_ATTRIBUTE_TYPE: [UInt8]]) { self.values = values }

  func flag(_ type: CK_ATTRIBUTE_TYPE) -> Bool { values[type]?.first == 1 }
  func number(_ type: CK_ATTRIBUTE_TYPE) -> CK_ULONG? { CK_ULONG(octets: values[type]) }

  /// CKA_ALLOWED_MECHANISMS; `nil` when the token does not keep it, or keeps none.
  var mechanisms: [CK_MECHANISM_TYPE]? {
    let size = MemoryLayout<CK_MECHANISM_TYPE>.size
    guard let bytes = values[CKA_ALLOWED_MECHANISMS], !bytes.isEmpty, bytes.count.isMultiple(of: size) else {
      return nil
    }
    return stride(from: 0, to: bytes.count, by: size).compactMap { CK_ULONG(octets: Array(bytes[$0..<$0 + size])) }
  }

  /// What may be told of the key.
  ///
  /// What falls short of our templates stands in the remarks.
  func description(
    _ version: KeyVersionID, _ type: KeyType, _ role: KeyRole, publicKey: [UInt8]?, fingerprint: [UInt8],
    remarks: [String]
  ) -> KeyDescription {
    let isLocal = flag(CKA_LOCAL)
    var remarks = remarks
    if !flag(CKA_SENSITIVE) { remarks.append("The key is not marked sensitive: the token may give out its value.") }
    if flag(CKA_EXTRACTABLE) { remarks.append("The key is extractable: it may leave the token wrapped.") }
    if flag(CKA_MODIFIABLE) { remarks.append("The token lets the key's attributes be changed.") }
    if !isLocal {
      remarks.append("The key was imported: the token can't vouch that its value was always sensitive.")
    } else if !flag(CKA_ALWAYS_SENSITIVE) || !flag(CKA_NEVER_EXTRACTABLE) {
      remarks.append("The token does not vouch that the key was always sensitive and never extractable.")
    }
    if mechanisms == nil { remarks.append("The token does not bind the key to its mechanisms.") }
    return KeyDescription(
      version: version, type: type, role: role, publicKey: publicKey, fingerprint: fingerprint,
      origin: isLocal ? .generated : .imported,
      isHardwareProtected: flag(CKA_SENSITIVE) && !flag(CKA_EXTRACTABLE), isBackupable: false,
      label: String(decoding: values[CKA_LABEL] ?? [], as: UTF8.self), remarks: remarks)
  }
}

/// Public keys between PKCS#11's attributes and `SubjectPublicKeyInfo`.
enum PublicKeyAttributes {
  /// The key from the attributes of a pair; the private half of an RSA key is enough.
  static func subjectPublicKeyInfo(
    privateKey: [CK_ATTRIBUTE_TYPE: [UInt8]], publicKey: [CK_ATTRIBUTE_TYPE: [UInt8]]?
  ) -> [UInt8]? {
    switch CK_ULONG(octets: privateKey[CKA_KEY_TYPE]) {
    case CKK_RSA:
      guard let modulus = privateKey[CKA_MODULUS] ?? publicKey?[CKA_MODULUS],
        let exponent = privateKey[CKA_PUBLIC_EXPONENT] ?? publicKey?[CKA_PUBLIC_EXPONENT], !modulus.isEmpty,
        !exponent.isEmpty
      else { return nil }
      return DER.rsaPublicKey(modulus: modulus, exponent: exponent)
    case CKK_EC:
      guard let parameters = privateKey[CKA_EC_PARAMS] ?? publicKey?[CKA_EC_PARAMS],
        let curve = EllipticCurve.allCases.first(where: { DER.parameters(of: $0) == parameters }),
        let point = publicKey?[CKA_EC_POINT].flatMap({ bare($0, curve) })
      else { return nil }
      return DER.ecPublicKey(curve: curve, point: point)
    default: return nil
    }
  }

  /// The uncompressed point, with or without the OCTET STRING around it.
  private static func bare(_ point: [UInt8], _ curve: EllipticCurve) -> [UInt8]? {
    let count = 1 + 2 * curve.coordinateLength
    guard point.count >= count else { return nil }
    let tail = Array(point.suffix(count))
    guard tail.first == 4, point.count == count || point == octetString(tail) else { return nil }
    return tail
  }

  /// An OCTET STRING of up to 255 bytes.
  static func octetString(_ content: [UInt8]) -> [UInt8] {
    (content.count < 0x80 ? [0x04, UInt8(content.count)] : [0x04, 0x81, UInt8(content.count)]) + content
  }

  /// The attributes of a public key object, from a `SubjectPublicKeyInfo` that our own code wrote.
  static func template(of spki: [UInt8], _ type: KeyType) -> Template? {
    var rest = spki[...]
    guard var sequence = take(0x30, &rest), take(0x30, &sequence) != nil, let bits = take(0x03, &sequence),
      bits.first == 0
    else { return nil }
    switch type {
    case .rsa:
      var content = bits.dropFirst()
      guard var numbers = take(0x30, &content), let modulus = take(0x02, &numbers), let exponent = take(0x02, &numbers)
      else { return nil }
      return Template([
        (CKA_MODULUS, .bytes(Array(modulus.drop { $0 == 0 }))),
        (CKA_PUBLIC_EXPONENT, .bytes(Array(exponent.drop { $0 == 0 }))),
      ])
    case .ec(let curve):
      return Template([
        (CKA_EC_PARAMS, .bytes(DER.parameters(of: curve))),
        (CKA_EC_POINT, .bytes(octetString(Array(bits.dropFirst())))),
      ])
    case .aes: return nil
    }
  }

  /// The content of one DER element.
  private static func take(_ tag: UInt8, _ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard bytes.popFirst() == tag, let first = bytes.popFirst() else { return nil }
    var count = Int(first)
    if first >= 0x80 {
      count = 0
      for _ in 0..<(first & 0x7f) {
        guard let next = bytes.popFirst(), count < 1 << 16 else { return nil }
        count = count << 8 | Int(next)
      }
    }
    guard bytes.count >= count else { return nil }
    defer { bytes = bytes.dropFirst(count) }
    return bytes.prefix(count)
  }
}
