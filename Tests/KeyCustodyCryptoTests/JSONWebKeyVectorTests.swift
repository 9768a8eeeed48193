import KeyCustody
import KeyCustodyCrypto
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Private keys and numbers that others published, where this machine has them.
@Suite("JSON Web Key vectors")
struct JSONWebKeyVectorTests {
  private struct Body: Decodable {
    var key: Members
  }
  private struct Backup: Decodable {
    struct Version: Decodable {
      var keyMaterial: Members
    }
    var versions: [Version]
  }
  /// The members that are strings.
  private struct Members: Decodable {
    struct Name: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }
    var strings: [String: String] = [:]
    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Name.self)
      for name in container.allKeys { strings[name.stringValue] = try? container.decode(String.self, forKey: name) }
    }
  }

  /// The error that reading ends with.
  private static func refusal(_ members: [String: String]) -> KeyCustodyError? {
    do throws(KeyCustodyError) { _ = try PrivateJSONWebKey.importable(members).type } catch { return error }
    return nil
  }

  @Test("lowkey-vault's import bodies: the whole ones are taken, the others refused by the member that is missing")
  func importBodies() throws {
    let missing = [
      "rsa": ["n", "e", "d", "p", "q", "dp", "dq", "qi"], "ec": ["crv", "x", "y", "d"], "aes": ["kty", "k"],
    ]
    for (kind, members) in missing {
      let valid = "lowkey-vault/key/import/\(kind)-import-valid.json"
      if let data = try Vectors.read(valid) {
        var tally = Tally(valid)
        let error = Self.refusal(try JSONDecoder().decode(Body.self, from: data).key.strings)
        #expect(error == nil, "\(valid): \(String(describing: error))")
        tally.valid += 1
        tally.report()
      }
      for name in members {
        let file = "lowkey-vault/key/import/\(kind)-import-missing-\(name).json"
        guard let data = try Vectors.read(file) else { continue }
        var tally = Tally(file)
        let error = Self.refusal(try JSONDecoder().decode(Body.self, from: data).key.strings)
        #expect(error?.code == .invalidInput && error?.message.contains("'\(name)'") == true, "\(file)")
        tally.invalid += 1
        tally.report()
      }
    }
  }

  @Test("lowkey-vault's backups: the keys in them are taken, but for another curve and short AES keys")
  func backups() throws {
    let names =
      ["256-72", "256-73", "256k-72", "256k-73", "521-72", "521-73"].map { "Ec-\($0)" }
      + ["72", "73", "74", "75", "76", "2025-07-01"].flatMap { ["Ec-384-\($0)", "Oct-192-\($0)", "Rsa-2048-\($0)"] }
      + ["Rsa-3072-72", "Rsa-4096-73", "Oct-128-72", "Oct-128-73", "Oct-256-72", "Oct-256-73"]
    for name in names {
      let file = "lowkey-vault/backups/jsonBackup\(name).json"
      guard let data = try Vectors.read(file) else { continue }
      var tally = Tally(file)
      for version in try JSONDecoder().decode(Backup.self, from: data).versions {
        let error = Self.refusal(version.keyMaterial.strings)
        if ["Ec-256k", "Oct-128", "Oct-192"].contains(where: name.hasPrefix) {
          #expect(error?.code == .invalidInput, "\(file)")
          tally.invalid += 1
        } else {
          #expect(error == nil, "\(file): \(String(describing: error))")
          tally.valid += 1
        }
      }
      tally.report()
    }
  }

  @Test("The private keys of RFC 7520, section 3, are taken")
  func cookbook() throws {
    for name in ["3_2.ec_private_key", "3_4.rsa_private_key", "3_6.symmetric_key_encryption"] {
      let file = "jose-cookbook/jwk/\(name).json"
      guard let data = try Vectors.read(file) else { continue }
      var tally = Tally(file)
      let members = try JSONDecoder().decode(Members.self, from: data).strings
      let error = Self.refusal(members)
      #expect(error == nil, "\(file): \(String(describing: error))")
      tally.valid += 1
      tally.report()
    }
  }

  @Test("Wycheproof's composite numbers are no factors of a key")
  func primality() throws {
    struct File: Decodable {
      struct Group: Decodable { var tests: [Case] }
      struct Case: Decodable {
        var tcId: Int
        var value: String
        var result: String
      }
      var testGroups: [Group]
    }
    let name = "wycheproof/primality_test.json"
    guard let data = try Vectors.read(name) else { return }
    var tally = Tally(name)
    for test in try JSONDecoder().decode(File.self, from: data).testGroups.flatMap(\.tests) {
      // Two's complement: as a member's bytes, a negative number is another positive one.
      guard test.result == "invalid", let first = test.value.first, !"89abcdef".contains(first) else {
        tally.skip(test.result == "invalid" ? "negative numbers" : "primes: none of a whole key")
        continue
      }
      var members = WrittenKeys.rsa
      members["p"] = try bytes(test.value).base64URL
      let error = Self.refusal(members)
      #expect(error?.code == .invalidInput && error?.message.contains("'p'") == true, "\(test.tcId)")
      tally.invalid += 1
    }
    tally.report()
  }
}
