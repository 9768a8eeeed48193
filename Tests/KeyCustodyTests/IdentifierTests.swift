import KeyCustody
import Testing

/// Names that must be taken nowhere.
let hostileNames = [
  "", " ", "a b", "a/b", "../etc", "..", ".", "a.b", "a_b", "a\u{0}b", "\u{0}", "a\nb", "a\r\nb", "a%2fb", "a;b", "a'b",
  "a\"b", "a\\b", "a:b", "a?b", "a#b", "a@b", "*", "ä", "na\u{301}me", "ＡＢＣ", "а", "a\u{200B}b", "a\u{202E}b", "🔑",
  "name ", " name", "\u{FEFF}name", "1٢3", "name\u{7f}", String(repeating: "a", count: 128),
  String(repeating: "é", count: 100),
]

@Suite("Identifiers")
struct IdentifierTests {
  @Test(
    "Names of the allow-list are taken as they are written",
    arguments: ["a", "Z", "0", "-", "--", "vault-1", "KV1", "9-lives", String(repeating: "x", count: 127)])
  func goodNames(_ name: String) throws {
    let identifier = try VaultName(name)
    #expect(identifier.spelling == name)
    #expect(identifier.description == name)
    #expect(identifier.folded == name.lowercased())
  }

  @Test("Hostile names are refused with a message that is safe to print", arguments: hostileNames)
  func badNames(_ name: String) {
    let error = #expect(throws: KeyCustodyError.self) { try VaultName(name) }
    #expect(error == KeyCustodyError(.invalidInput, .badName, ""))
    let text = error?.debugDescription ?? ""
    #expect(text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "\(text)")
    #expect(text.utf8.count < 200)
    #expect(error?.remedy.isEmpty == false)
  }

  @Test("Names are compared without case, in sets too")
  func caseFolds() throws {
    let (upper, lower, other) = (try KeyName("KEY-a"), try KeyName("key-A"), try KeyName("key-b"))
    #expect(upper == lower)
    #expect(upper != other)
    #expect(Set([upper, lower, other]).count == 2)
    #expect(lower < other && !(upper < lower) && !(lower < upper))
  }

  @Test("A name travels through JSON as its spelling, and a bad one does not come in")
  func codable() throws {
    #expect(try roundTrip(VaultName("KV-1")).spelling == "KV-1")
    #expect(throws: KeyCustodyError.self) { try decode(VaultName.self, "\"a/b\"") }
  }

  @Test("A principal is written TENANT/SUBJECT")
  func principal() throws {
    let id = try PrincipalID("Contoso/app-1")
    #expect(try id.tenant == TenantID("contoso"))
    #expect(try id.subject == SubjectID("APP-1"))
    #expect(id.description == "Contoso/app-1")
    #expect(try roundTrip(id) == id)
  }

  @Test(
    "What is not TENANT/SUBJECT is refused", arguments: ["", "/", "a", "a/", "/a", "a/b/c", "a//b", "a b/c", "a/b "])
  func badPrincipal(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .badName, "")) { try PrincipalID(text) }
  }
}
