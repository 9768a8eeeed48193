import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Claims that are nearly right")
struct ClaimMutantTests {
  @Test("200 well signed tokens, each with one claim changed: none is taken")
  func mutants() async throws {
    let key = try TestKey(.ec(.p256), "key")
    let issuer = try await FileIssuer(keys: [key.jwk()])
    let mutants = Self.mutants(of: issuer)
    #expect(mutants.count >= 200)
    #expect(try await issuer.accepts(key.token(issuer.claims())), "unchanged it is taken")
    var accepted = 0
    for (name, value) in mutants where try await issuer.accepts(key.token(issuer.claims([(name, value)]))) {
      Issue.record("'\(name)' as \(String(describing: value)) was taken")
      accepted += 1
    }
    print("claim mutants: \(mutants.count), \(accepted) accepted")
  }

  private static func mutants(of issuer: FileIssuer) -> [(String, JSON?)] {
    let now = issuer.clock.now().seconds
    let notTexts: [JSON?] = [
      nil, .null, true, false, 0, 1, -1, .number(0.5), [:], ["iss": .string(issuer.name)], [.null], [[]], "", " ",
    ]
    var mutants: [(String, JSON?)] = notTexts.map { ("iss", $0) }
    mutants += spellings(of: issuer.name).map { ("iss", .string($0)) } + [("iss", [.string(issuer.name)])]
    mutants += notTexts.map { ("aud", $0) }
    for spelling in spellings(of: issuer.audience) {
      mutants.append(("aud", .string(spelling)))
      mutants.append(("aud", .array([.string(spelling)])))
    }
    mutants += [
      ("aud", [.string(issuer.audience), 1]), ("aud", [.string(issuer.audience), .null]),
      ("aud", [[.string(issuer.audience)]]), ("aud", ["aud": .string(issuer.audience)]),
      ("aud", .string(issuer.audience + "," + issuer.audience)), ("aud", .string("x " + issuer.audience)),
    ]
    mutants += [
      nil, .null, true, 0, 1, .number(1.5), [:], ["alice"], "", .string(String(repeating: "a", count: 256)),
    ].map { ("sub", $0) }
    let notMoments: [JSON] = [
      .null, true, false, [:], [], "", "0", .string("\(now + 60)"), .string("2026-01-01T00:10:00Z"),
      [.integer(now + 60)],
      -1, .integer(.min), .integer(.max), .number(1e300), .number(-1e300), .number(-0.5), .integer(253_402_300_800),
    ]
    for name in ["exp", "nbf", "iat"] { mutants += notMoments.map { (name, $0) } }
    mutants += [nil, 0, 1, .integer(now), .integer(now - 1), .integer(now - 60), .integer(now - 86_400)].map {
      ("exp", $0)
    }
    mutants += [
      .number(Double(now)), .number(Double(now) - 0.5), .integer(now * 1000), .integer(now + 86_401),
      .integer(now + 2_592_000),
    ].map { ("exp", $0) }
    for name in ["nbf", "iat"] {
      mutants += [now + 61, now + 600, now + 601, now * 1000, now + 86_400].map { (name, .integer($0)) }
      mutants.append((name, .number(Double(now) + 60.5)))
    }
    mutants += [now - 86_400, now - 85_801, 0, 1].map { ("iat", .integer($0)) }
    return mutants
  }

  /// What is nearly a URL, and nothing else.
  private static func spellings(of url: String) -> [String] {
    let host = String(url.dropFirst("https://".count))
    var spellings = ["/", " ", "\n", "\u{0}", ".", "?", "#", "/..", "//", "e", ",\(url)"].map { "\(url)\($0)" }
    spellings += [" ", "\"", "\t"].map { "\($0)\(url)" }
    spellings += ["HTTPS://", "http://", "", "//", "https://x@", "https:/", "https:///"].map { "\($0)\(host)" }
    spellings += [String(url.dropLast()), url.uppercased(), "https://\(host):443", "https://\(host.uppercased())"]
    let confusable: [(String, String)] = [
      (".", "%2e"), (".", "\u{3002}"), ("e", "\u{435}"), ("a", "\u{ff41}"), ("e", "e\u{200b}"), ("e", "\u{e9}"),
    ]
    spellings += confusable.map { url.replacing($0.0, with: $0.1) }
    return spellings
  }
}
