import KeyCustodyTestSupport
package import KeyCustodyTesting

/// A PKCS#11 module that fails as the kit says.
package final class SteeredModule: FaultInjector {
  let module: FaultModule

  package init() throws { module = try FaultModule() }

  /// All but two.
  ///
  /// What a token answers to an unwrapping can't be checked by the provider (`corrupted`): the commitment that is recorded
  /// with every root key checks it, and what is wrapped or signed is checked at once. A `crash` takes a process, and is
  /// done to one elsewhere.
  package let kinds: Set<FaultKind> = [
    .refused, .answerLost, .outage, .absent, .sessionsLost, .loggedOut, .credentialRefused, .full, .hung,
  ]

  package func calls() async -> Int { (try? module.report().calls) ?? 0 }

  package func inject(_ kind: FaultKind, call: Int) async throws {
    for rule in Self.rules(kind, call) { try module.command(rule) }
  }

  private static func rules(_ kind: FaultKind, _ call: Int) -> [String] {
    switch kind {
    case .refused: ["fail * nth=\(call)"]
    case .answerLost: ["fail * nth=\(call) when=after"]
    case .outage: ["fail * from=\(call) rv=DEVICE_REMOVED"]
    case .absent: ["vanish ms=86400000 mode=empty nth=\(call)"]
    case .sessionsLost: ["drop * nth=\(call)"]
    case .loggedOut: ["logout * nth=\(call)"]
    case .credentialRefused: ["logout * nth=\(call)", "fail C_Login rv=PIN_INCORRECT"]
    case .full: ["fail * from=\(call) match=C_GenerateKey,C_GenerateKeyPair,C_CreateObject rv=DEVICE_MEMORY"]
    case .hung: ["hang * from=\(call)"]
    case .corrupted, .crash: []
    }
  }

  package func heal() async throws {
    try module.command("clear")
    try module.command("return")
    try module.command("release")
  }

  package func credentialAttempts() async -> Int? { try? module.report().functions["C_Login"] ?? 0 }
}
