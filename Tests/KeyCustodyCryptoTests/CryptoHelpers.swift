import KeyCustody
import KeyCustodyCrypto
import Testing

/// Bytes from hexadecimal digits.
func bytes(_ hexadecimal: String) throws -> [UInt8] { try #require([UInt8](hexadecimal: hexadecimal)) }

func wrap(_ plain: [UInt8], _ key: [UInt8]) throws -> [UInt8] {
  try AES256KeyWrap.wrap(SecretBytes(copying: plain), key: unsafe key.span.bytes)
}

func unwrap(_ wrapped: [UInt8], _ key: [UInt8]) throws -> [UInt8] {
  try AES256KeyWrap.unwrap(wrapped, key: unsafe key.span.bytes).array
}

func gcmSeal(_ plain: [UInt8], _ key: [UInt8], _ nonce: [UInt8], _ extra: [UInt8]) throws -> [UInt8] {
  var cipher = try AES256GCM(key: unsafe key.span.bytes)
  var sealed = [UInt8](repeating: 0, count: plain.count + AES256GCM.tagLength)
  var span = sealed.mutableSpan
  var output = unsafe span.mutableBytes
  try unsafe cipher.seal(
    plain.span.bytes, nonce: nonce.span.bytes, additionalData: extra.span.bytes, into: &output)
  return sealed
}

/// `nil` when it does not authenticate; the output must then be cleared.
func gcmOpen(_ sealed: [UInt8], _ key: [UInt8], _ nonce: [UInt8], _ extra: [UInt8]) throws -> [UInt8]? {
  var cipher = try AES256GCM(key: unsafe key.span.bytes)
  var plain = [UInt8](repeating: 0xa5, count: sealed.count - AES256GCM.tagLength)
  var isAuthentic = false
  do {
    var span = plain.mutableSpan
    var output = unsafe span.mutableBytes
    unsafe isAuthentic = cipher.open(
      sealed.span.bytes, nonce: nonce.span.bytes, additionalData: extra.span.bytes, into: &output)
  }
  if !isAuthentic { #expect(plain.allSatisfy { $0 == 0 }, "the output was not cleared") }
  return isAuthentic ? plain : nil
}

extension SecretBytes {
  /// A copy in ordinary memory; for published test values alone.
  var array: [UInt8] { withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } } }
}

extension KeyCustodyError {
  static let notAuthenticWrap = KeyCustodyError(.integrityFailure, .notAuthentic, "")
}
