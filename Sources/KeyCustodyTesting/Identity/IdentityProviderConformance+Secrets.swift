import KeyCustody

extension IdentityProviderConformance {
  /// Client secrets and API keys.
  static let secrets: [IdentityBehavior] = [
    .init("A client secret authenticates its principal", "I4", clientSecretAuthenticates),
    .init("Wrong secret, unknown, switched-off and deleted look the same", "IdentityProvider", rejectionsLookTheSame),
    .init("Whoever is switched off is rejected with every credential, and taken again when on", "I3", offMeansOff),
    .init(
      "A deleted principal's credentials stay dead when its name is used again", "IdentityAdministration", deadStayDead),
    .init("A client secret ends when it expires", "I4", clientSecretExpires),
    .init("Both API keys authenticate", "P2", bothKeysAuthenticate),
    .init("Regenerating one API key kills it at once and leaves the other", "P2", regeneratingKillsOne),
    .init("Secrets are long and never the same", "IdentityAdministration", secretsAreLong),
    .init("Near misses of a secret are rejected", "IdentityProvider", nearMissesAreRejected),
    .init("A secret of one kind is not taken for another", "IdentityProvider", kindsAreNotMixed),
    .init("A rejection tells nothing of the secret shown", "IdentityProvider", rejectionTellsNothing),
    .init("Concurrent callers are each taken for themselves", "IdentityProvider", concurrentCallers),
  ]

  @Sendable private static func clientSecretAuthenticates(_ trial: IdentityTrial) async throws {
    for kind in [Principal.Kind.user, .servicePrincipal] {
      let id = try await trial.create("one-\(kind.rawValue)", kind: kind)
      let secret = try await trial.clientSecret(id)
      let principal = try await trial.accepted(.secret(id, secret), as: id, "a client secret")
      try expect(
        principal.kind == kind && principal.method == .clientSecret && principal.resource == nil,
        "A \(kind) with a client secret is taken for \(principal).")
      try expect(principal.expires > trial.clock.now(), "The proof ends at \(principal.expires), before now.")
    }
  }

  @Sendable private static func rejectionsLookTheSame(_ trial: IdentityTrial) async throws {
    let (good, off, gone) = (
      try await trial.create("good"), try await trial.create("off"), try await trial.create("gone")
    )
    let foreign = try await trial.create(trial.foreignID("good"))
    let secret = try await trial.clientSecret(good)
    let (offSecret, goneSecret) = (try await trial.clientSecret(off), try await trial.clientSecret(gone))
    let foreignSecret = try await trial.clientSecret(foreign)
    try await trial.setEnabled(false, off)
    try await trial.delete(gone)
    let bare = try await trial.create("bare")
    try await trial.rejectedAlike([
      ("a wrong secret", .secret(good, String(secret.reversed()))), ("an empty secret", .secret(good, "")),
      ("the secret of an unknown principal", .secret(trial.id("nobody"), secret)),
      ("the secret of a principal that has none", .secret(bare, secret)),
      ("the right secret of a switched-off principal", .secret(off, offSecret)),
      ("a wrong secret of a switched-off principal", .secret(off, secret)),
      ("the secret of a deleted principal", .secret(gone, goneSecret)),
      ("the other tenant's secret", .secret(good, foreignSecret)),
      ("a secret of 100 KiB", .secret(good, String(repeating: "x", count: 100 << 10))),
    ])
    try await trial.accepted(.secret(good, secret), as: good, "the right secret, after all those")
  }

  @Sendable private static func offMeansOff(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let proofs: [(String, IdentityTrial.Proof)] = [
      ("a client secret", .secret(id, try await trial.clientSecret(id))),
      ("the first API key", .apiKey(try await trial.apiKey(.first, id))),
      ("the second API key", .apiKey(try await trial.apiKey(.second, id))),
      ("a token", .token(try await trial.token(id))),
    ]
    for (what, proof) in proofs { try await trial.accepted(proof, as: id, what) }
    try await trial.setEnabled(false, id)
    for (what, proof) in proofs { try await trial.rejected(proof, "\(what) of a switched-off principal") }
    try await trial.setEnabled(true, id)
    for (what, proof) in proofs { try await trial.accepted(proof, as: id, "\(what) after switching on again") }
  }

  @Sendable private static func deadStayDead(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let proofs: [(String, IdentityTrial.Proof)] = [
      ("the client secret", .secret(id, try await trial.clientSecret(id))),
      ("the API key", .apiKey(try await trial.apiKey(.first, id))), ("the token", .token(try await trial.token(id))),
    ]
    try await trial.delete(id)
    for (what, proof) in proofs { try await trial.rejected(proof, "\(what) of a deleted principal") }
    try await trial.create(id)
    for (what, proof) in proofs { try await trial.rejected(proof, "\(what) of an earlier principal of the same name") }
  }

  @Sendable private static func clientSecretExpires(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let secret = try await trial.clientSecret(id, expires: trial.clock.now() + .seconds(3600))
    let principal = try await trial.accepted(.secret(id, secret), as: id, "a client secret before it expires")
    try expect(
      principal.expires <= trial.clock.now() + .seconds(3600),
      "The secret expires in an hour, the proof by it at \(principal.expires).")
    trial.clock.advance(by: .seconds(3500))
    try await trial.accepted(.secret(id, secret), as: id, "a client secret before it expires")
    trial.clock.advance(by: .seconds(101))
    try await trial.rejected(.secret(id, secret), "a client secret after it expired")
  }

  @Sendable private static func bothKeysAuthenticate(_ trial: IdentityTrial) async throws {
    let (id, other) = (try await trial.create("one", kind: .user), try await trial.create("two"))
    let keys = [try await trial.apiKey(.first, id), try await trial.apiKey(.second, id)]
    let others = try await trial.apiKey(.first, other)
    for key in keys {
      let principal = try await trial.accepted(.apiKey(key), as: id, "an API key")
      try expect(
        principal.kind == .user && principal.method == .apiKey, "A user with an API key is taken for \(principal).")
      try expect(principal.expires > trial.clock.now(), "The proof ends at \(principal.expires), before now.")
    }
    try await trial.accepted(.apiKey(others), as: other, "another principal's API key")
  }

  @Sendable private static func regeneratingKillsOne(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    var keys: [APIKeySlot: String] = [:]
    for slot in APIKeySlot.allCases { keys[slot] = try await trial.apiKey(slot, id) }
    for slot in [APIKeySlot.first, .second, .first] {
      let old = try unwrapped(keys[slot], "No key.")
      let new = try await trial.apiKey(slot, id)
      keys[slot] = new
      try expect(new != old, "Regenerating gave the same API key again.")
      try await trial.rejected(.apiKey(old), "the \(slot.rawValue) API key after it was regenerated")
      for (slot, key) in keys { try await trial.accepted(.apiKey(key), as: id, "the \(slot.rawValue) API key") }
    }
  }

  @Sendable private static func secretsAreLong(_ trial: IdentityTrial) async throws {
    let (id, other) = (try await trial.create("one"), try await trial.create("two"))
    var secrets: [String] = []
    for principal in [id, other] {
      for slot in APIKeySlot.allCases { secrets.append(try await trial.apiKey(slot, principal)) }
      secrets.append(try await trial.clientSecret(principal))
      secrets.append(try await trial.clientSecret(principal))
    }
    try expect(Set(secrets).count == secrets.count, "Two secrets are the same.")
    for secret in secrets {
      try expect(
        secret.utf8.count >= 32 && secret.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f },
        "A secret has \(secret.utf8.count) bytes, or bytes that can't be typed; at least 32 of printable ASCII are due."
      )
    }
  }

  @Sendable private static func nearMissesAreRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let secret = try await trial.clientSecret(id)
    for near in nearMisses(of: secret) { try await trial.rejected(.secret(id, near), "a near miss of a client secret") }
    let key = try await trial.apiKey(.first, id)
    for near in nearMisses(of: key) { try await trial.rejected(.apiKey(near), "a near miss of an API key") }
    try await trial.accepted(.secret(id, secret), as: id, "the client secret after near misses")
    try await trial.accepted(.apiKey(key), as: id, "the API key after near misses")
  }

  private static func nearMisses(of secret: String) -> [String] {
    let swapped = secret.map { $0.isUppercase ? $0.lowercased() : $0.uppercased() }.joined()
    var misses = ["", String(secret.dropLast()), String(secret.dropFirst()), secret + "0", " " + secret, secret + "\n"]
    misses += [secret + "\u{0}", swapped, secret + secret, "\u{0}"]
    for index in stride(from: 0, to: secret.count, by: 5) {
      var letters = Array(secret)
      letters[index] = letters[index] == "x" ? "y" : "x"
      misses.append(String(letters))
    }
    return misses.filter { $0 != secret }
  }

  @Sendable private static func kindsAreNotMixed(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let secret = try await trial.clientSecret(id)
    let key = try await trial.apiKey(.first, id)
    let token = try await trial.token(id)
    try await trial.rejected(.apiKey(secret), "a client secret as an API key")
    try await trial.rejected(.token(secret), "a client secret as a token")
    try await trial.rejected(.secret(id, key), "an API key as a client secret")
    try await trial.rejected(.token(key), "an API key as a token")
    try await trial.rejected(.secret(id, token), "a token as a client secret")
    try await trial.rejected(.apiKey(token), "a token as an API key")
  }

  @Sendable private static func rejectionTellsNothing(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let shown = "f00d-shown-by-a-stranger-0123456789abcdef"
    for proof in [IdentityTrial.Proof.secret(id, shown), .apiKey(shown), .token("\(shown).\(shown).\(shown)")] {
      let text = try await trial.rejected(proof, "a made-up secret").debugDescription
      try expect(!text.contains("stranger"), "A rejection shows the secret: '\(text)'.")
    }
  }

  @Sendable private static func concurrentCallers(_ trial: IdentityTrial) async throws {
    var callers: [(PrincipalID, IdentityTrial.Proof)] = []
    for number in 0..<8 {
      let id = try await trial.create("caller-\(number)")
      callers.append((id, .secret(id, try await trial.clientSecret(id))))
      callers.append((id, .apiKey(try await trial.apiKey(.second, id))))
      callers.append((id, .token(try await trial.token(id))))
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (id, proof) in callers + callers {
        group.addTask { try await trial.accepted(proof, as: id, "a credential among 48 at once") }
      }
      try await group.waitForAll()
    }
  }
}
