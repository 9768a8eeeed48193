import KeyCustody
import Testing

private let version = "0123456789abcdef0123456789abcdef"

@Suite("Key addresses")
struct KeyURITests {
  struct Good: Sendable {
    var text: String
    var authority: String
    var name: String
    var version: String?
  }

  @Test(
    "V1: an address names a key, with a version or without",
    arguments: [
      Good(text: "https://kv1.vault.example/keys/k1", authority: "kv1.vault.example", name: "k1"),
      Good(text: "https://kv1.vault.example/keys/k1/", authority: "kv1.vault.example", name: "k1"),
      Good(
        text: "https://kv1.vault.example:8443/keys/Key-1/\(version)", authority: "kv1.vault.example:8443",
        name: "Key-1", version: version),
      Good(
        text: "https://KV1.Vault.Example/keys/k1/\(version.uppercased())", authority: "kv1.vault.example", name: "k1",
        version: version),
      Good(text: "https://localhost:8443/keys/k1", authority: "localhost:8443", name: "k1"),
    ])
  func good(_ good: Good) throws {
    let uri = try KeyURI(good.text)
    #expect(uri.authority == good.authority)
    #expect(uri.name.spelling == good.name)
    #expect(uri.version?.description == good.version)
    #expect(try KeyURI(uri.description) == uri)
    #expect(try roundTrip(uri) == uri)
  }

  @Test("The vault is the first label of the host")
  func vault() throws {
    #expect(try KeyURI("https://KV-1.vault.example:8443/keys/k").vault == VaultName("kv-1"))
    #expect(try KeyURI("https://localhost:8443/keys/k").vault == VaultName("localhost"))
  }

  @Test(
    "V1: anything else is refused",
    arguments: [
      "", "k1", "https://", "https:///keys/k1", "http://kv1.vault.example/keys/k1", "HTTPS//kv1/keys/k1",
      "https://kv1.vault.example", "https://kv1.vault.example/", "https://kv1.vault.example/keys",
      "https://kv1.vault.example/keys/", "https://kv1.vault.example/secrets/k1", "https://kv1.vault.example/KEYS/k1",
      "https://kv1.vault.example//keys/k1", "https://kv1.vault.example/keys//k1",
      "https://kv1.vault.example/keys/k1/\(version)/x", "https://kv1.vault.example/keys/k1/short",
      "https://kv1.vault.example/keys/k1/\(version)0", "https://kv1.vault.example/keys/k1?api-version=7.4",
      "https://kv1.vault.example/keys/k1/zz23456789abcdef0123456789abcdef", "https://kv1.vault.example/keys/k1#x",
      "https://user@kv1.vault.example/keys/k1", "https://user:pass@kv1.vault.example/keys/k1",
      "https://kv1..example/keys/k1", "https://.example/keys/k1", "https://kv1.example./keys/k1",
      "https://kv1.example:/keys/k1", "https://kv1.example:x/keys/k1", "https://kv1.example:65536/keys/k1",
      "https://kv1.example:-1/keys/k1", "https://kv1.example:+443/keys/k1", "https://kv1.example:0/keys/k1",
      "https://kv1.example:0443/keys/k1", "https://kv1.example:443:443/keys/k1", "https://[::1]/keys/k1",
      "https://kv_1.example/keys/k1", "https://kv1.example/keys/k_1", "https://kv1.example/keys/k%31",
      "https://kv1.example/keys/../keys/k1", "https://kv1.example\\@evil/keys/k1", "https://kv1.exämple/keys/k1",
      " https://kv1.example/keys/k1", "https://kv1.example/keys/k1 ", "https://kv1.example/keys/k1\n",
      "https://kv1.example/keys/\u{0}k1", "https://kv1.example/keys/" + String(repeating: "k", count: 128),
      "https://" + String(repeating: "a.", count: 300) + "example/keys/k1",
    ])
  func bad(_ text: String) {
    let error = #expect(throws: KeyCustodyError.self) { try KeyURI(text) }
    #expect(error?.code == .invalidInput)
    #expect(error.map { [.malformed, .badName].contains($0.reason) } == true)
  }

  @Test("The usual port is not written, so that one key has one address")
  func usualPort() throws {
    let uri = try KeyURI("https://kv1.vault.example:443/keys/k1")
    #expect(try uri == KeyURI("https://kv1.vault.example/keys/k1"))
    #expect(uri.description == "https://kv1.vault.example/keys/k1")
  }

  @Test("Addresses that differ in case are one")
  func caseFolds() throws {
    let (left, right) = (try KeyURI("https://kv1.example/keys/Key"), try KeyURI("https://KV1.example/keys/kEY"))
    #expect(left == right)
    #expect(Set([left, right]).count == 1)
    #expect(left.with(version: try KeyVersionID(version)) != left)
  }
}

@Suite("Key version names")
struct KeyVersionIDTests {
  @Test("32 hexadecimal digits of either case name a version")
  func good() throws {
    let name = try KeyVersionID("0123456789ABCDEF0123456789abcdef")
    #expect(name.description == version)
    #expect(name.bytes.hexadecimal == version)
    #expect(name.bytes.count == 16)
    #expect(try name == KeyVersionID(version))
    #expect(try roundTrip(name) == name)
    #expect(try json([name]) == "[\"\(version)\"]")
  }

  @Test(
    "Anything else is refused",
    arguments: [
      "", "0", "\(version.dropLast())", "\(version)0", "\(version)00", "g\(version.dropFirst())",
      " \(version.dropFirst())", "0x\(version.dropFirst(2))", "+1\(version.dropFirst(2))", "-\(version.dropFirst())",
      "01234567-89ab-cdef-0123-456789abcdef", "０123456789abcdef0123456789abcdef", "\u{0}\(version.dropFirst())",
    ])
  func bad(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .badName, "")) { try KeyVersionID(text) }
  }

  @Test("Names are ordered as text")
  func ordered() throws {
    let names = try ["00", "0a", "a0", "ff"].map { try KeyVersionID($0 + String(repeating: "0", count: 30)) }
    #expect(names.reversed().sorted() == names)
  }
}
