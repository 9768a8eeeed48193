import KeyCustody

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A file that is read whole.
enum SmallFile {
  /// The content of a file of at most so many bytes.
  ///
  /// - Throws: `unavailable` (`unreachable`, `bad-answer`).
  static func read(_ path: String, limit: Int) throws(KeyCustodyError) -> [UInt8] {
    let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int ?? 0
    guard size <= limit else { throw .badAnswer("The file '\(path)' is longer than \(limit) bytes.") }
    guard let content = FileManager.default.contents(atPath: path) else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "The file '\(path)' with an issuer's keys can't be read.",
        remedy: "Whoever keeps the configuration can put it there: it is what the issuer's 'jwks_uri' gives.")
    }
    return Array(content)
  }
}
