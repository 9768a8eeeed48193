import KeyCustody

extension IdentityProviderConformance {
  /// Tokens that somebody made or altered.
  static let forgery: [IdentityBehavior] = [
    .init("A token altered anywhere is rejected", "I4", alteredTokenIsRejected),
    .init("Stray bits at the end of a token's parts are rejected", "I4", strayBitsAreRejected),
    .init("Characters outside base64url are rejected", "I4", foreignCharactersAreRejected),
    .init("A token without a signature is rejected, whatever its header says", "I4", unsignedTokenIsRejected),
    .init("Parts of two tokens don't make a third", "I4", mixedTokensAreRejected),
    .init("Empty, garbled and huge tokens are rejected", "I4", garbageIsRejected),
    .init("All rejections of tokens look the same", "IdentityProvider", tokenRejectionsLookTheSame),
  ]

  private static func parts(_ token: String) throws -> [String] {
    let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    try expect(parts.count == 3, "A token is not three parts divided by dots.")
    return parts
  }

  @Sendable private static func alteredTokenIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id)
    let letters = Array(token)
    for (index, letter) in letters.enumerated() where letter != "." {
      // In the last letter of a part some bits may not count; `strayBitsAreRejected` is about those.
      guard index + 1 < letters.count, letters[index + 1] != "." else { continue }
      var altered = letters
      altered[index] = index % 2 == 0 ? (letter == "A" ? "B" : "A") : (letter == "z" ? "9" : "z")
      try await trial.rejected(.token(String(altered)), "a token altered at character \(index)")
    }
    try await trial.accepted(.token(token), as: id, "the token as it was issued")
  }

  @Sendable private static func strayBitsAreRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id)
    let good = try parts(token)
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    for (number, part) in good.enumerated() {
      guard let last = part.last else { throw ConformanceViolation("Part \(number) of a token is empty.") }
      for letter in alphabet where letter != last {
        var altered = good
        altered[number] = String(part.dropLast()) + String(letter)
        try await trial.rejected(
          .token(altered.joined(separator: ".")), "a token whose part \(number) ends with another character")
      }
    }
  }

  @Sendable private static func foreignCharactersAreRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id)
    let good = try parts(token)
    for foreign in ["=", "==", "+", "/", " ", "\n", "\t", "\u{0}", "%", "é", "🔑", "\r\n", "\"", "."] {
      for number in good.indices {
        var (behind, inside, before) = (good, good, good)
        behind[number] += foreign
        before[number] = foreign + before[number]
        let middle = inside[number].index(inside[number].startIndex, offsetBy: inside[number].count / 2)
        inside[number].insert(contentsOf: foreign, at: middle)
        for altered in [behind, inside, before] {
          try await trial.rejected(
            .token(altered.joined(separator: ".")), "a token with '\(foreign)' put into part \(number)")
        }
      }
    }
    try await trial.accepted(.token(token), as: id, "the token as it was issued")
  }

  @Sendable private static func unsignedTokenIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let good = try parts(try await trial.token(id))
    let headers = ["none", "None", "NONE", "nOnE", "", "HS256", "ES256", "RS256"].map { algorithm in
      Array("{\"alg\":\"\(algorithm)\",\"typ\":\"JWT\"}".utf8).base64URL
    }
    for header in headers + [Array("{}".utf8).base64URL, good[0], ""] {
      let zeros = [UInt8](repeating: 0, count: 64).base64URL
      for signature in header == good[0] ? ["", zeros] : ["", zeros, good[2]] {
        try await trial.rejected(
          .token("\(header).\(good[1]).\(signature)"), "a token with a made-up header or signature")
      }
      try await trial.rejected(.token("\(header).\(good[1])"), "a token without a third part")
    }
  }

  @Sendable private static func mixedTokensAreRejected(_ trial: IdentityTrial) async throws {
    let (id, other) = (try await trial.create("one"), try await trial.create("two"))
    let left = try parts(try await trial.token(id))
    trial.clock.advance(by: .seconds(2))
    let right = try parts(try await trial.token(other))
    try await trial.rejected(
      .token("\(left[0]).\(right[1]).\(left[2])"), "one token's signature on another's payload")
    try await trial.rejected(
      .token("\(right[0]).\(left[1]).\(right[2])"), "one token's signature on another's payload")
    try await trial.rejected(.token("\(left[1]).\(left[0]).\(left[2])"), "a token with its parts exchanged")
  }

  @Sendable private static func garbageIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id)
    for (what, text) in garbage(token) { try await trial.rejected(.token(text), what) }
    try await trial.accepted(.token(token), as: id, "a good token after garbage")
  }

  private static func garbage(_ token: String) -> [(what: String, text: String)] {
    let object = Array("{}".utf8).base64URL
    let deep = Array(String(repeating: "[", count: 5000).utf8).base64URL
    return [
      ("an empty token", ""), ("one dot", "."), ("two dots", ".."), ("three dots", "..."), ("a word", "garbage"),
      ("a NUL", "\u{0}"), ("objects without content", "\(object).\(object).\(object)"),
      ("deeply nested brackets", "\(deep).\(deep).\(deep)"), ("text that is not UTF-8", "_____w._____w._____w"),
      ("a token twice", token + token), ("a token and a dot", token + "."), ("a dot and a token", "." + token),
      ("a token behind 'Bearer '", "Bearer " + token), ("half a token", String(token.prefix(token.count / 2))),
      ("100 KiB of letters", String(repeating: "A", count: 100 << 10)),
      ("100 KiB of dots", String(repeating: ".", count: 100 << 10)),
      ("a token with 100 KiB behind", token + String(repeating: "A", count: 100 << 10)),
      ("a payload of 100 KiB", "\(object).\(String(repeating: "A", count: 100 << 10)).\(object)"),
    ]
  }

  @Sendable private static func tokenRejectionsLookTheSame(_ trial: IdentityTrial) async throws {
    let (id, off, gone) = (
      try await trial.create("one"), try await trial.create("off"), try await trial.create("gone")
    )
    let early = try await trial.token(id, lifetime: .seconds(60))
    trial.clock.advance(by: .seconds(3600))
    let good = try await trial.token(id)
    let (offToken, goneToken) = (try await trial.token(off), try await trial.token(gone))
    try await trial.setEnabled(false, off)
    try await trial.delete(gone)
    let foreign = try await working("Issuing a token for another audience") { () async throws(KeyCustodyError) in
      try await trial.administration.issueToken(for: id, audience: "https://other.example", lifetime: .seconds(60))
    }
    let middle = try parts(good)
    var proofs: [(String, IdentityTrial.Proof)] = garbage(good).map { ($0.what, .token($0.text)) }
    proofs += [
      ("an expired token", .token(early)), ("a switched-off principal's token", .token(offToken)),
      ("a deleted principal's token", .token(goneToken)), ("a token for another audience", .token(foreign)),
      (
        "a token with a zero signature",
        .token("\(middle[0]).\(middle[1]).\([UInt8](repeating: 0, count: 64).base64URL)")
      ),
    ]
    try await trial.rejectedAlike(proofs)
  }
}
