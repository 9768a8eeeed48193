import KeyCustody
import Testing

@testable import KeyCustodyOIDC

struct SubjectNameTests {
  @Test(
    "I1: what an issuer calls by a plain name keeps it", arguments: ["a", "00000000-0000-4000-8000-0123456789ab", "-"])
  func plain(_ name: String) throws {
    #expect(try OIDCIdentityProvider.subject(named: name).spelling == name)
  }

  @Test("I1: no two subjects of an issuer share a name")
  func injective() throws {
    let long = String(repeating: "a", count: 127)
    let hashed = try OIDCIdentityProvider.subject(named: "Alice").spelling
    let names = [
      "alice", "Alice", "ALICE", "alice ", " alice", "alice.", "a/b", "a-b", "a_b", "a|b", "\u{212a}", "K", "k",
      "\u{e4}",
      "a\u{308}", "ａ", "alice\u{200b}", "alice\u{0}", "ALİCE", "ı", "i", "I", long, long + "a", long + "b", hashed,
      "sha256-", "sha256-x", "SHA256-x", "auth0|123", "waad|123", "https://a/b", "https://a/B", "..", ".", "%41", "A",
    ]
    let mapped = try names.map { try OIDCIdentityProvider.subject(named: $0) }
    #expect(Set(mapped).count == names.count)
    #expect(Set(mapped.map(\.folded)).count == names.count)
    print("subject names: \(names.count) spellings, \(Set(mapped).count) principals")
  }
}
