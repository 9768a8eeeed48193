/// An address of a web service in parts: host, port and path; no user, no query, no fragment.
struct WebAddress: Sendable, Hashable {
  /// Whether it is https.
  let isProtected: Bool
  /// The host, in lower case.
  let host: String
  /// The port, the usual one where none is written.
  let port: Int
  /// The path without slashes at its end: empty, or `/…`.
  let path: String

  /// Reads an address; `nil` for anything that two readers could take in two ways.
  init?(_ text: String) {
    let isProtected = text.lowercased().hasPrefix("https://")
    guard isProtected || text.lowercased().hasPrefix("http://"), text.utf8.count <= 2048 else { return nil }
    let rest = text.dropFirst(isProtected ? 8 : 7)
    let authority = rest.prefix { $0 != "/" }
    let halves = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let host = halves.first, !host.isEmpty, host.utf8.count <= 253, Self.isHost(host) else { return nil }
    var port = isProtected ? 443 : 80
    if halves.count == 2 {
      guard let number = UInt16(halves[1]), number > 0, String(number) == halves[1] else { return nil }
      port = Int(number)
    }
    var path = rest.dropFirst(authority.count)
    guard path.utf8.allSatisfy({ Self.isPlain($0) || $0 == UInt8(ascii: "/") }), !path.contains("..") else {
      return nil
    }
    while path.hasSuffix("/") { path.removeLast() }
    self.isProtected = isProtected
    self.host = host.lowercased()
    self.port = port
    self.path = String(path)
  }

  private static func isHost(_ host: Substring) -> Bool {
    host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
      !label.isEmpty && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }
  }

  static func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"):
      true
    default: false
    }
  }

  private static func isPlain(_ byte: UInt8) -> Bool { isAlphanumeric(byte) || "-._~".utf8.contains(byte) }

  /// Host and port, without the usual port.
  var authority: String { port == (isProtected ? 443 : 80) ? host : "\(host):\(port)" }
  /// The address without its path.
  var origin: String { "\(isProtected ? "https" : "http")://\(authority)" }
  /// The whole address.
  var text: String { origin + path }

  /// Whether the host is this machine, or as near as an identity endpoint may be that speaks plain HTTP.
  var isLocal: Bool {
    let labels = host.split(separator: ".", omittingEmptySubsequences: false)
    let parts = labels.compactMap { UInt8($0) }
    // What only begins like an address is a name, whatever it resolves to.
    guard labels.count == 4, parts.count == 4 else { return host == "localhost" }
    return parts[0] == 127 || parts == [169, 254, 169, 254]
  }

  /// Whether a vault of this address may ask for tokens of a resource: its own host, or a domain that it is in.
  ///
  /// What the stock clients check too, a port other than 443 included.
  func isWithin(resource: WebAddress) -> Bool {
    resource.isProtected && resource.path.isEmpty
      && (authority == resource.authority || authority.hasSuffix(".\(resource.authority)"))
  }
}
