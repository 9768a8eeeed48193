public import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// From where a vault may be reached (SEMANTICS V5); judged before its access rules.
///
/// An operation that comes from no network address (``CallContext/clientAddress``), because this process itself asks
/// for it, is a trusted service's.
public struct NetworkRules: Sendable, Hashable, Codable {
  /// Whether every address is let in; otherwise only those in ``ranges``.
  public var allowsEveryAddress: Bool
  /// The addresses let in.
  public var ranges: [AddressRange]
  /// Whether services of this deployment are let in although they come from none of the ranges.
  public var trustedServicesBypass: Bool

  /// Every address and every service.
  public static let everywhere = NetworkRules(allowsEveryAddress: true, ranges: [], trustedServicesBypass: true)

  /// Only addresses in `ranges`, and services of this deployment unless told otherwise.
  public static func only(_ ranges: [AddressRange], trustedServicesBypass: Bool = true) -> NetworkRules {
    NetworkRules(allowsEveryAddress: false, ranges: ranges, trustedServicesBypass: trustedServicesBypass)
  }

  /// Whether a call from `address` gets in; what is no address does not.
  public func admits(_ address: String?) -> Bool {
    guard !allowsEveryAddress else { return true }
    guard let address else { return trustedServicesBypass }
    guard let bytes = AddressRange.bytes(of: address) else { return false }
    return ranges.contains { $0.contains(bytes) }
  }
}

/// A range of addresses, as `192.0.2.0/24`, `2001:db8::/32`, or one address.
public struct AddressRange: Sendable, Hashable, Codable, CustomStringConvertible {
  /// The written form, as it was given.
  public let description: String
  private let network: [UInt8]
  private let length: Int

  /// Reads a range strictly: four decimal numbers without zeros in front, or RFC 4291 text; no bits after the prefix.
  ///
  /// - Throws: `invalidInput` (`malformed`).
  public init(_ text: String) throws(KeyCustodyError) {
    let halves = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let malformed = KeyCustodyError(
      .invalidInput, .malformed, "That is not a range of addresses.",
      remedy: "Write 192.0.2.0/24 or 2001:db8::/32, with zeros after the prefix, or one address.")
    guard (1...2).contains(halves.count), let bytes = Self.parse(halves[0]) else { throw malformed }
    var length = bytes.count * 8
    if halves.count == 2 {
      guard let number = Int(halves[1]), String(number) == halves[1], (0...length).contains(number) else {
        throw malformed
      }
      length = number
    }
    guard Self.masked(bytes, length) == bytes else { throw malformed }
    description = text
    network = bytes
    self.length = length
  }

  /// Reads the written form.
  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }
  /// Writes the written form.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  func contains(_ address: [UInt8]) -> Bool {
    address.count == network.count && Self.masked(address, length) == network
  }

  /// The bytes of an address; an IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is the IPv4 address.
  static func bytes(of text: String) -> [UInt8]? {
    guard let bytes = parse(text) else { return nil }
    let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
    return bytes.count == 16 && bytes.starts(with: mapped) ? Array(bytes.suffix(4)) : bytes
  }

  private static func parse(_ text: String) -> [UInt8]? {
    guard text.utf8.count <= 45, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
    for (family, length) in [(AF_INET, 4), (AF_INET6, 16)] {
      var bytes = [UInt8](repeating: 0, count: length)
      let code = unsafe bytes.withUnsafeMutableBytes { unsafe inet_pton(family, text, $0.baseAddress) }
      if code == 1 { return bytes }
    }
    return nil
  }

  private static func masked(_ bytes: [UInt8], _ length: Int) -> [UInt8] {
    bytes.enumerated().map { index, byte in
      let kept = min(8, max(0, length - index * 8))
      return byte & UInt8(truncatingIfNeeded: 0xff00 >> kept)
    }
  }
}
