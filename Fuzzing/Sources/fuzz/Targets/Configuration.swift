@testable import KeyCustody
@testable import KeyCustodyServices

extension FuzzTarget {
  private static let sample = """
    {"service":{"tenant":"t","region":"r","keyProvider":"a","policyStore":"b","keyType":"aes256","leaseSeconds":60},\
    "identity":{"keyProvider":"a"},"vaults":{"domain":"vault.local"},\
    "keyProviders":{"a":{"kind":"memory"}},"policyStores":{"b":{"kind":"file","directory":"x"}}}
    """

  private static func readAll(_ section: ConfigurationSection, depth: Int) {
    guard depth < 8, let names = allowing([.invalidInput], { try section.names() }) else { return }
    for name in names.prefix(20) {
      _ = allowing([.invalidInput]) { try section.string(name) }
      _ = allowing([.invalidInput]) { try section.integer(name, in: 0...100) }
      _ = allowing([.invalidInput]) { try section.boolean(name) }
      _ = allowing([.invalidInput]) { try section.strings(name) }
      readAll(section.section(name), depth: depth + 1)
    }
  }

  /// Configurations in JSON: whatever stands there is a setting or an error of input.
  static let configuration = FuzzTarget(
    name: "configuration",
    seeds: {
      [Array(sample.utf8), Array("{}".utf8), Array("{\"service\":{\"keyProvidr\":1,\"x\":[\"a\",\"b\"]}}".utf8)]
    },
    run: { input in
      guard
        let settings = allowing([.invalidInput], { try KeyCustodyConfiguration(json: input) }),
        let other = allowing([.invalidInput], { try KeyCustodyConfiguration(json: input) })
      else { return }
      if let host = allowing([.invalidInput, .unsupported], { try HostSettings(settings.root) }) {
        require((0...900).contains(host.lease.components.seconds), "a lease out of bounds")
      }
      readAll(other.root, depth: 0)
    })
}
