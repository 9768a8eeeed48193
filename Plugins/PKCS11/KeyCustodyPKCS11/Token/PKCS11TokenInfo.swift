import CKeyCustodyPKCS11
import KeyCustody

/// What a token says of itself (CK_TOKEN_INFO), without the blanks that fill its fields.
package struct PKCS11TokenInfo: Sendable, Hashable {
  /// The name it was given when it was initialised.
  package let label: String
  /// Who made it.
  package let manufacturer: String
  /// What it is.
  package let model: String
  /// What tells it from others of its model.
  package let serial: String
  let flags: UInt

  init(label: String, manufacturer: String, model: String, serial: String, flags: UInt) {
    self.label = label
    self.manufacturer = manufacturer
    self.model = model
    self.serial = serial
    self.flags = flags
  }

  init(_ info: CK_TOKEN_INFO) {
    self.init(
      label: Self.text(info.label), manufacturer: Self.text(info.manufacturerID), model: Self.text(info.model),
      serial: Self.text(info.serialNumber), flags: info.flags)
  }

  /// The text of a field of fixed length, filled up with blanks (some modules: with zeros).
  static func text<Field>(_ field: Field) -> String {
    unsafe withUnsafeBytes(of: field) { bytes in
      let used = unsafe bytes.prefix { $0 != 0 }
      return unsafe String(decoding: used.reversed().drop { $0 == 0x20 }.reversed(), as: UTF8.self)
    }
  }

  var isInitialized: Bool { flags & CKF_TOKEN_INITIALIZED != 0 }
  var isUserPINLocked: Bool { flags & CKF_USER_PIN_LOCKED != 0 }

  /// Manufacturer, model and serial number: what stays when a token is found under another slot, name or path.
  var instance: String { "\(manufacturer)/\(model)/\(serial)" }
  /// The identity of a backend on this token.
  var identity: ProviderIdentity { ProviderIdentity(kind: PKCS11Plugin.name, instance: instance) }

  /// The RFC 7512 URI that selects this token and no other.
  package var uri: String { "pkcs11:token=\(Self.escaped(label));serial=\(Self.escaped(serial))" }

  private static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      byte.isASCIIAlphanumeric || [0x2d, 0x2e, 0x5f, 0x7e].contains(byte)
        ? String(UnicodeScalar(byte)) : "%\([byte].hexadecimal)"
    }.joined()
  }
}
