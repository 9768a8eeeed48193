import KeyCustody

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Which addresses may be asked for an issuer's documents.
enum IssuerAddress {
  /// Where an issuer's discovery document is (OpenID Connect Discovery 1.0, section 4).
  static func discovery(of issuer: String) -> String {
    (issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer) + "/.well-known/openid-configuration"
  }

  /// Whether an address is https, or, where that is let in, http on a loopback address; without user and fragment.
  ///
  /// A loopback address is one written in numbers: what a name means, somebody else decides.
  static func isFetchable(_ address: String, orLoopback: Bool) -> Bool {
    let isPlain = address.utf8.allSatisfy { (0x21...0x7e).contains($0) && !unusual.contains($0) }
    guard isPlain, address.utf8.count <= 2048, let parts = URLComponents(string: address), let host = parts.host,
      !host.isEmpty, parts.user == nil, parts.password == nil, parts.fragment == nil
    else { return false }
    return address.hasPrefix("https://") || orLoopback && address.hasPrefix("http://") && isLoopback(host)
  }

  /// Whether this is http, which ``isFetchable(_:orLoopback:)`` lets in on a loopback address alone.
  static func isUnprotected(_ address: String) -> Bool { address.hasPrefix("http:") }

  /// Characters that no address needs and that its readers may take in two ways.
  private static let unusual: Set<UInt8> = Set("\\\"<>^`{|}".utf8)

  private static func isLoopback(_ host: String) -> Bool {
    if host == "::1" || host == "[::1]" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0)?.description == String($0) }
  }
}
