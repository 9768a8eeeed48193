import CKeyCustodyPKCS11
import KeyCustody

/// A mechanism with its parameters.
enum Mechanism: Sendable, Hashable {
  /// One without parameters.
  case bare(CK_MECHANISM_TYPE)
  /// CKM_RSA_PKCS_OAEP with one hash for label and mask, no label.
  case oaep(WrapAlgorithm)
  /// CKM_RSA_PKCS_PSS with the SHA-2 of that length, 32, 48 or 64 bytes, and a salt as long.
  case pss(hashLength: Int)

  /// Its number.
  var type: CK_MECHANISM_TYPE {
    switch self {
    case .bare(let type): type
    case .oaep: CKM_RSA_PKCS_OAEP
    case .pss: CKM_RSA_PKCS_PSS
    }
  }

  /// Lends it as C takes it.
  func lend<Failure: Error>(
    _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws(Failure) -> Void
  ) throws(Failure) {
    switch self {
    case .bare: try unsafe lend(nil, 0, body)
    case .oaep(let algorithm):
      let isSHA1 = algorithm == .rsaOAEP
      var parameters = unsafe CK_RSA_PKCS_OAEP_PARAMS(
        hashAlg: isSHA1 ? CKM_SHA_1 : CKM_SHA256, mgf: CK_ULONG(isSHA1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256),
        source: CKZ_DATA_SPECIFIED, pSourceData: nil, ulSourceDataLen: 0)
      try unsafe withUnsafeMutablePointer(to: &parameters) { (pointer) throws(Failure) in
        try unsafe lend(pointer, MemoryLayout<CK_RSA_PKCS_OAEP_PARAMS>.size, body)
      }
    case .pss(let length):
      let (hash, mask) =
        switch length {
        case 48: (CKM_SHA384, CKG_MGF1_SHA384)
        case 64: (CKM_SHA512, CKG_MGF1_SHA512)
        default: (CKM_SHA256, CKG_MGF1_SHA256)
        }
      var parameters = CK_RSA_PKCS_PSS_PARAMS(hashAlg: hash, mgf: CK_ULONG(mask), sLen: CK_ULONG(length))
      try unsafe withUnsafeMutablePointer(to: &parameters) { (pointer) throws(Failure) in
        try unsafe lend(pointer, MemoryLayout<CK_RSA_PKCS_PSS_PARAMS>.size, body)
      }
    }
  }

  private func lend<Failure: Error>(
    _ parameters: UnsafeMutableRawPointer?, _ count: Int,
    _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws(Failure) -> Void
  ) throws(Failure) {
    var mechanism = unsafe CK_MECHANISM(mechanism: type, pParameter: parameters, ulParameterLen: CK_ULONG(count))
    try unsafe withUnsafeMutablePointer(to: &mechanism, body)
  }
}
