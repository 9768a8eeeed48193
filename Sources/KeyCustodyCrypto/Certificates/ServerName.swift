package import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a server's certificate is for: a DNS name, or an address.
package enum ServerName: Hashable, Sendable, CustomStringConvertible {
  /// A name in lower case; its first label may be `*`.
  case dns(String)
  /// The 4 bytes of an IPv4 address, or the 16 of an IPv6 one.
  case address([UInt8])

  /// The most names of one certificate.
  private static let most = 100

  /// Reads a DNS name: labels of letters, digits and inner dashes (RFC 1123, section 2.1), up to 253 characters.
  ///
  /// `*` stands for one whole label, the first, before two more at least: clients take no other wildcard.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  package init(dns text: String) throws(KeyCustodyError) {
    let name = text.lowercased()
    var labels = name.split(separator: ".", omittingEmptySubsequences: false)
    if labels.first == "*", labels.count > 2 { labels.removeFirst() }
    // A last label of digits alone would be read as an address.
    guard name.utf8.count <= 253, labels.allSatisfy(Self.isLabel),
      labels.last?.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) == false
    else {
      throw KeyCustodyError(
        .invalidInput, .badName, "That is not a DNS name that a certificate can be made for.",
        remedy:
          "Use letters, digits and dashes in labels with dots between, such as kv.example.com or *.kv.example.com.")
    }
    self = .dns(name)
  }

  private static func isLabel(_ label: Substring) -> Bool {
    let dash = UInt8(ascii: "-")
    return (1...63).contains(label.utf8.count) && label.utf8.first != dash && label.utf8.last != dash
      && label.utf8.allSatisfy { byte in
        byte == dash || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      }
  }

  /// Reads an IPv4 address in dotted decimal numbers, or an IPv6 address without a zone.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  package init(address text: String) throws(KeyCustodyError) {
    var four = in_addr()
    var six = in6_addr()
    // A zero byte would end the text early.
    if !text.utf8.contains(0), unsafe inet_pton(AF_INET, text, &four) == 1 {
      self = .address(unsafe withUnsafeBytes(of: &four) { unsafe Array($0) })
    } else if !text.utf8.contains(0), unsafe inet_pton(AF_INET6, text, &six) == 1 {
      self = .address(unsafe withUnsafeBytes(of: &six) { unsafe Array($0) })
    } else {
      throw KeyCustodyError(
        .invalidInput, .badName, "That is not an IP address that a certificate can be made for.",
        remedy: "Use the form 192.0.2.1 or 2001:db8::1, without a port or a zone.")
    }
  }

  /// Reads what a certificate is wanted for.
  ///
  /// - Throws: `invalidInput` (`bad-name`, `wrong-size`).
  static func read(names: [String], addresses: [String]) throws(KeyCustodyError) -> [ServerName] {
    guard (1...most).contains(names.count + addresses.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "A certificate is for 1 to \(most) names and addresses, not \(names.count + addresses.count).")
    }
    var result: [ServerName] = []
    for name in names { result.append(try ServerName(dns: name)) }
    for address in addresses { result.append(try ServerName(address: address)) }
    var seen: Set<ServerName> = []
    return result.filter { seen.insert($0).inserted }
  }

  /// The bytes that stand in a certificate.
  var bytes: [UInt8] {
    switch self {
    case .dns(let name): Array(name.utf8)
    case .address(let bytes): bytes
    }
  }

  /// Whether it is an address.
  var isAddress: Bool {
    switch self {
    case .dns: false
    case .address: true
    }
  }

  /// The name or address as text.
  package var description: String {
    guard case .address(let bytes) = self else { return String(decoding: bytes, as: UTF8.self) }
    var text = [CChar](repeating: 0, count: 64)
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    guard unsafe inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
