import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

@Suite("Attributes of the keys we make")
struct TemplateTests {
  struct Case: Sendable, CustomStringConvertible {
    var type: KeyType
    var role: KeyRole
    var privateUsages: Set<CK_ATTRIBUTE_TYPE>
    var publicUsages: Set<CK_ATTRIBUTE_TYPE>
    var mechanisms: [CK_MECHANISM_TYPE]
    var description: String { "\(type) \(role)" }
  }

  static let cases: [Case] = [
    Case(
      type: .rsa(bits: 2048), role: .wrapping, privateUsages: [CKA_DECRYPT, CKA_UNWRAP],
      publicUsages: [CKA_ENCRYPT, CKA_WRAP], mechanisms: [CKM_RSA_PKCS_OAEP, CKM_RSA_X_509]),
    Case(
      type: .rsa(bits: 2048), role: .signing, privateUsages: [CKA_SIGN], publicUsages: [CKA_VERIFY],
      mechanisms: [CKM_RSA_PKCS, CKM_RSA_PKCS_PSS]),
    Case(
      type: .ec(.p256), role: .signing, privateUsages: [CKA_SIGN], publicUsages: [CKA_VERIFY],
      mechanisms: [CKM_ECDSA]),
    Case(
      type: .aes(bits: 256), role: .wrapping, privateUsages: [CKA_WRAP, CKA_UNWRAP], publicUsages: [],
      mechanisms: [CKM_AES_KEY_WRAP]),
  ]

  static let usages: [CK_ATTRIBUTE_TYPE] = [
    CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_SIGN_RECOVER, CKA_VERIFY, CKA_VERIFY_RECOVER,
    CKA_DERIVE,
  ]

  @Test("RELIABILITY 3.7: sensitive, not extractable, not modifiable, no usage beyond the role", arguments: cases)
  func attributes(_ expected: Case) async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(expected.type, expected.role)
      #expect(key.remarks == [])
      #expect(key.isHardwareProtected)
      let objects = try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        let handles = try session.handles(of: key.version)
        let types =
          Self.usages + [
            CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
            CKA_MODIFIABLE, CKA_LOCAL, CKA_ALLOWED_MECHANISMS, CKA_ID, CKA_VALUE, CKA_PRIVATE_EXPONENT,
          ]
        return (
          secret: try (handles.privates + handles.secrets).map { (handle) throws(PKCS11Failure) in
            KeyAttributes(try session.read(types, of: handle))
          },
          open: try handles.publics.map { (handle) throws(PKCS11Failure) in
            KeyAttributes(try session.read(types, of: handle))
          }
        )
      }
      let secret = try #require(objects.secret.first)
      #expect(objects.secret.count == 1)
      #expect(Set(Self.usages.filter(secret.flag)) == expected.privateUsages)
      for type in [CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL] {
        #expect(secret.flag(type), "attribute \(type)")
      }
      #expect(!secret.flag(CKA_EXTRACTABLE) && !secret.flag(CKA_MODIFIABLE))
      #expect(Set(secret.mechanisms ?? []) == Set(expected.mechanisms))
      #expect(secret.values[CKA_ID] == key.version.bytes)
      #expect(secret.values[CKA_VALUE] == nil && secret.values[CKA_PRIVATE_EXPONENT] == nil)
      #expect(objects.open.count == (expected.publicUsages.isEmpty ? 0 : 1))
      for half in objects.open {
        #expect(Set(Self.usages.filter(half.flag)) == expected.publicUsages)
        #expect(half.flag(CKA_TOKEN) && !half.flag(CKA_MODIFIABLE))
      }
    }
  }

  @Test("Where emulation is off, no key is allowed the bare RSA operation")
  func noRawRSA() async throws {
    try await Backends.withKeys(emulates: false) { provider, token in
      let key = try await provider.make(.rsa(bits: 2048), .wrapping)
      let mechanisms = try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        try session.lookUp(key.version).mechanisms
      }
      #expect(mechanisms == [CKM_RSA_PKCS_OAEP])
    }
  }

  @Test("RELIABILITY 3.7: a wrapping key can't be given another usage afterwards")
  func usagesStay() async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(.aes(bits: 256), .wrapping)
      let code = try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) -> CK_RV in
        let handle = try session.lookUp(key.version).handle
        return unsafe Template([(CKA_DECRYPT, .flag(true))]).lend { attributes, count in
          unsafe session.cryptoki.functions.pointee.C_SetAttributeValue?(session.handle, handle, attributes, count)
            ?? CKR_FUNCTION_NOT_SUPPORTED
        }
      }
      #expect(code != CKR_OK)
    }
  }

  @Test("A label is kept up to 128 bytes, and a letter is not cut in two")
  func labels() async throws {
    try await Backends.withKeys { provider, _ in
      let key = try await provider.make(.ec(.p256), .signing, label: String(repeating: "ä", count: 100))
      #expect(key.label == String(repeating: "ä", count: 64))
      #expect(try await provider.describe(key.version, context: Backends.context) == key)
    }
  }
}
