@testable import KeyCustody
@testable import KeyCustodyEnvelope

extension FuzzTarget {
  private static func readNames(_ text: String) {
    if let uri = allowing([.invalidInput], { try KeyURI(text) }) {
      let again = allowing([]) { try KeyURI(uri.description) }
      require(again == uri, "an address does not read back: \(uri)")
      require(again?.description == uri.description, "an address has two forms: \(uri)")
      require(uri.description.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "an address that is not plain")
    }
    if let name = allowing([.invalidInput], { try ResourceID(text) }) {
      require(name.spelling == text && text.utf8.count <= 127, "a name is not kept")
      require(name.folded.utf8.allSatisfy { $0.isASCIIAlphanumeric || $0 == 0x2d }, "a name outside the allow-list")
    }
    if let principal = allowing([.invalidInput], { try PrincipalID(text) }) {
      require(principal.description == text, "a principal is not kept")
    }
    if let key = allowing([.invalidInput], { try RecordKey(text) }) {
      require(key.description == text, "a record's name is not kept")
      require(!text.split(separator: "/").contains { $0 == ".." || $0 == "." }, "a path leads out")
    }
    if let id = allowing([.invalidInput], { try RootKeyID(text) }) {
      require(id.description == text.lowercased(), "a root key's name is not kept")
    }
    if let version = allowing([.invalidInput], { try KeyVersionID(text) }) {
      require(version.description == text.lowercased(), "a version is not kept")
    }
    if let type = allowing([.invalidInput, .unsupported], { try KeyType(text) }) {
      require((try? KeyType(type.description)) == type, "a key type does not read back")
    }
  }

  private static func readBytes(_ text: String) {
    if let bytes = [UInt8](base64URL: text) {
      let written = bytes.base64URL
      let bare = text.utf8.prefix { $0 != UInt8(ascii: "=") }
      require(Array(bare) == Array(written.utf8), "base64url has two forms")
    }
    if let bytes = [UInt8](hexadecimal: text) {
      require(bytes.hexadecimal == text.lowercased(), "hexadecimal is not kept")
    }
    let bytes = Array(text.utf8)
    require([UInt8](base64URL: bytes.base64URL) == bytes, "base64url loses bytes")
    require([UInt8](hexadecimal: bytes.hexadecimal) == bytes, "hexadecimal loses bytes")
  }

  /// Names, addresses and text forms of bytes: what reads has one written form.
  static let text = FuzzTarget(
    name: "text",
    seeds: {
      let version = "000102030405060708090a0b0c0d0e0f"
      let texts = [
        "https://kv1.vault.example:8443/keys/cmk/\(version)", "https://KV1.vault.example:443/keys/cmk/", "bot-1",
        "tenant-1/user-2", "directory/signing-key", "0123456789abcdef", version, "RSA-2048", "AQIDBA", "AQ==", "../x",
      ]
      return texts.map { Array($0.utf8) }
    },
    run: { input in
      let text = String(decoding: input, as: UTF8.self)
      readNames(text)
      readBytes(text)
    })
}
