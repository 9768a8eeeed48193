import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// The attributes of the objects we make.
///
/// Every attribute is given: defaults differ from token to token, and SoftHSM's would allow what a key of that role
/// must never do.
enum KeyTemplates {
  /// What a key object is for.
  struct Purpose {
    var type: KeyType
    var role: KeyRole
    /// Whether the bare RSA operation is allowed, so that the host can do RSA-OAEP-256.
    var allowsRawRSA: Bool
    /// Whether it stays on the token; probes use objects of the session.
    var isLasting: Bool
    var id: [UInt8]
    var label: String

    init(_ request: GenerateKeyRequest, allowsRawRSA: Bool) {
      type = request.type
      role = request.role
      self.allowsRawRSA = allowsRawRSA
      isLasting = true
      id = request.version.bytes
      label = Self.bounded(request.label)
    }

    init(probing type: KeyType, _ role: KeyRole, id: [UInt8]) {
      self.type = type
      self.role = role
      allowsRawRSA = true
      isLasting = false
      self.id = id
      label = "key-custody probe"
    }

    /// At most 128 bytes, no letter cut in two.
    private static func bounded(_ label: String) -> String {
      var text = label
      while text.utf8.count > 128 { text.removeLast() }
      return text
    }

    /// The mechanisms the private or secret key may be used with, fixed when it is made.
    var mechanisms: [CK_MECHANISM_TYPE] {
      switch type {
      case .aes: [CKM_AES_KEY_WRAP]
      case .ec: [CKM_ECDSA]
      case .rsa:
        (role.wraps ? [CKM_RSA_PKCS_OAEP] : []) + (role.wraps && allowsRawRSA ? [CKM_RSA_X_509] : [])
          + (role.signs ? [CKM_RSA_PKCS, CKM_RSA_PKCS_PSS] : [])
      }
    }

    fileprivate var common: Template {
      Template([
        (CKA_TOKEN, .flag(isLasting)), (CKA_ID, .bytes(id)), (CKA_LABEL, .bytes(Array(label.utf8))),
      ])
    }
  }

  /// The last attribute of every template: on SoftHSM what follows it in C_UnwrapKey is refused as a change.
  private static let unmodifiable: (CK_ATTRIBUTE_TYPE, Template.Value) = (CKA_MODIFIABLE, .flag(false))

  private static func keyType(_ type: KeyType) -> CK_KEY_TYPE {
    switch type {
    case .rsa: CKK_RSA
    case .ec: CKK_EC
    case .aes: CKK_AES
    }
  }

  /// The public half.
  ///
  /// It is not private: whoever reaches the token may encrypt.
  static func publicKey(_ purpose: Purpose) -> Template {
    let (wraps, signs) = (purpose.role.wraps, purpose.role.signs)
    return purpose.common
      + Template([
        (CKA_CLASS, .number(CKO_PUBLIC_KEY)), (CKA_KEY_TYPE, .number(keyType(purpose.type))),
        (CKA_PRIVATE, .flag(false)), (CKA_ENCRYPT, .flag(wraps)), (CKA_WRAP, .flag(wraps)),
        (CKA_VERIFY, .flag(signs)), (CKA_VERIFY_RECOVER, .flag(false)), (CKA_DERIVE, .flag(false)),
        (CKA_ALLOWED_MECHANISMS, .numbers(purpose.mechanisms)), unmodifiable,
      ])
  }

  /// What C_GenerateKeyPair takes beside ``publicKey(_:)``.
  static func parameters(of type: KeyType) -> Template {
    switch type {
    case .rsa(let bits):
      Template([(CKA_MODULUS_BITS, .number(CK_ULONG(bits))), (CKA_PUBLIC_EXPONENT, .bytes([1, 0, 1]))])
    case .ec(let curve): Template([(CKA_EC_PARAMS, .bytes(DER.parameters(of: curve)))])
    case .aes(let bits): Template([(CKA_VALUE_LEN, .number(CK_ULONG(bits / 8)))])
    }
  }

  /// The private half of a pair.
  static func privateKey(_ purpose: Purpose) -> Template {
    let (wraps, signs) = (purpose.role.wraps, purpose.role.signs)
    return purpose.common
      + Template([
        (CKA_CLASS, .number(CKO_PRIVATE_KEY)), (CKA_KEY_TYPE, .number(keyType(purpose.type))),
        (CKA_PRIVATE, .flag(true)), (CKA_SENSITIVE, .flag(true)), (CKA_EXTRACTABLE, .flag(false)),
        (CKA_DECRYPT, .flag(wraps)), (CKA_UNWRAP, .flag(wraps)), (CKA_SIGN, .flag(signs)),
        (CKA_SIGN_RECOVER, .flag(false)), (CKA_DERIVE, .flag(false)),
        (CKA_ALLOWED_MECHANISMS, .numbers(purpose.mechanisms)), unmodifiable,
      ])
  }

  /// An AES key: it wraps and unwraps keys and never decrypts data, or it would give away what it wrapped.
  static func secretKey(_ purpose: Purpose) -> Template {
    purpose.common
      + Template([
        (CKA_CLASS, .number(CKO_SECRET_KEY)), (CKA_KEY_TYPE, .number(CKK_AES)), (CKA_PRIVATE, .flag(true)),
        (CKA_SENSITIVE, .flag(true)), (CKA_EXTRACTABLE, .flag(false)), (CKA_WRAP, .flag(true)),
        (CKA_UNWRAP, .flag(true)), (CKA_ENCRYPT, .flag(false)), (CKA_DECRYPT, .flag(false)),
        (CKA_SIGN, .flag(false)), (CKA_VERIFY, .flag(false)), (CKA_DERIVE, .flag(false)),
        (CKA_ALLOWED_MECHANISMS, .numbers(purpose.mechanisms)), unmodifiable,
      ])
  }

  /// A secret that enters or leaves through AES key wrap: readable, of this session only, of no other use.
  static let sessionSecret = Template([
    (CKA_CLASS, .number(CKO_SECRET_KEY)), (CKA_KEY_TYPE, .number(CKK_GENERIC_SECRET)), (CKA_TOKEN, .flag(false)),
    (CKA_PRIVATE, .flag(true)), (CKA_SENSITIVE, .flag(false)), (CKA_EXTRACTABLE, .flag(true)),
    (CKA_WRAP, .flag(false)), (CKA_UNWRAP, .flag(false)), (CKA_ENCRYPT, .flag(false)), (CKA_DECRYPT, .flag(false)),
    (CKA_SIGN, .flag(false)), (CKA_VERIFY, .flag(false)), (CKA_DERIVE, .flag(false)),
  ])

  /// A key whose value the host knows, of this session only: an imported key comes in under it.
  static let transportKey = Template([
    (CKA_CLASS, .number(CKO_SECRET_KEY)), (CKA_KEY_TYPE, .number(CKK_AES)), (CKA_TOKEN, .flag(false)),
    (CKA_PRIVATE, .flag(true)), (CKA_SENSITIVE, .flag(true)), (CKA_EXTRACTABLE, .flag(false)),
    (CKA_WRAP, .flag(false)), (CKA_UNWRAP, .flag(true)), (CKA_ENCRYPT, .flag(false)), (CKA_DECRYPT, .flag(false)),
    (CKA_SIGN, .flag(false)), (CKA_VERIFY, .flag(false)), (CKA_DERIVE, .flag(false)),
    (CKA_ALLOWED_MECHANISMS, .numbers([CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD])),
  ])
}
