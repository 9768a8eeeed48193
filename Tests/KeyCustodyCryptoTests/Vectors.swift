import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Test vectors that others published, where this machine has them.
///
/// They lie in the folder that `KEYCUSTODY_VECTORS` names, or in `shared/vectors` beside the package.
enum Vectors {
  private static let folder: String = {
    if let given = ProcessInfo.processInfo.environment["KEYCUSTODY_VECTORS"] { return given }
    let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    return "\(root)/../shared/vectors"
  }()

  /// The content of a file; `nil`, and a line that says so, when it is not there.
  static func read(_ name: String) throws -> Data? {
    let path = "\(folder)/\(name)"
    guard FileManager.default.fileExists(atPath: path) else {
      print("vectors|\(name)|not present, skipped")
      return nil
    }
    return try Data(contentsOf: URL(filePath: path))
  }

  /// A Wycheproof file.
  static func wycheproof(_ name: String) throws -> WycheproofFile? {
    try read("wycheproof/\(name)_test.json").map { try JSONDecoder().decode(WycheproofFile.self, from: $0) }
  }

  /// A NIST response file: its lines `NAME = VALUE`, one dictionary for each `COUNT`; `FAIL` is a name without a value.
  static func nist(_ name: String) throws -> [[String: String]]? {
    guard let data = try read(name) else { return nil }
    var section: [String: String] = [:]
    var cases: [[String: String]] = []
    for line in String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
      let bare = line.filter { $0 != "[" && $0 != "]" && $0 != "\r" }
      let parts = bare.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
        $0.filter { $0 != " " }
      }
      let value = parts.count > 1 ? parts[1] : ""
      if line.hasPrefix("[") {
        section[parts[0]] = value
      } else if parts[0].uppercased() == "COUNT" {
        cases.append(section)
      } else if !cases.isEmpty {
        cases[cases.count - 1][parts[0]] = value
      }
    }
    return cases
  }
}

/// A Wycheproof file, as far as it is used here.
struct WycheproofFile: Decodable {
  struct Group: Decodable {
    var keySize: Int?
    var sha: String?
    var mgfSha: String?
    var ivSize: Int?
    var tagSize: Int?
    var privateKeyPkcs8: String?
    var publicKeyDer: String?
    var tests: [Test]
  }
  struct Test: Decodable {
    var tcId: Int
    var comment: String
    var result: String
    var key: String?
    var iv: String?
    var aad: String?
    var msg: String?
    var ct: String?
    var tag: String?
    var label: String?
    var sig: String?
    var ikm: String?
    var salt: String?
    var info: String?
    var size: Int?
    var okm: String?
    var password: String?
    var iterationCount: Int?
    var dk: String?
  }
  var testGroups: [Group]
}
