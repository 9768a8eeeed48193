import KeyCustody

enum PKCS11PolicyStore {
  static func open(_ settings: PKCS11Settings, lockFile: String) async throws(KeyCustodyError) -> any PolicyStore {
    throw KeyCustodyError(.unsupported, .notOffered, "later")
  }
}
