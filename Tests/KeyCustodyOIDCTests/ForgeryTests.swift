import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTesting
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite("Forged tokens")
struct ForgeryTests {
  private static func header(_ members: [(String, JSON?)]) -> [UInt8] {
    var header = JSON.Object()
    for (name, value) in members { header[name] = value }
    return JSON.object(header).bytes
  }

  @Test("A public key is no secret: no token with an HMAC under any form of it is taken (CVE-2015-9235)")
  func hmacOfPublicKey() async throws {
    let rsa = try SharedKeys.rsa.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    let spki = try rsa.spki
    let pkcs1 = Array(spki.dropFirst(24))
    let secrets: [[UInt8]] =
      [spki, pkcs1, pem(spki, "PUBLIC KEY"), pem(pkcs1, "RSA PUBLIC KEY")]
      .flatMap { [$0, $0 + [0x0a]] } + [try rsa.jwk().bytes, keySet([try rsa.jwk()]), Array(rsa.keyID.utf8), []]
    var tried = 0
    for secret in secrets {
      for (name, hash) in [("HS256", HashAlgorithm.sha256), ("HS384", .sha384), ("HS512", .sha512)] {
        for declared in [name, "RS256", name.lowercased()] {
          let text =
            Self.header([("alg", .string(declared)), ("kid", "rsa")]).base64URL + "." + issuer.claims().bytes.base64URL
          let mac = try Hashing.hmac(hash, key: unsafe secret.span.bytes, [Array(text.utf8)])
          let signature = mac.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
          #expect(try await !issuer.accepts(text + "." + signature.base64URL), "\(declared)")
          tried += 1
        }
      }
    }
    print("HMAC under a public key: \(tried) tokens, 0 accepted")
  }

  @Test("Without a signature, or with an algorithm that is not allowed, nothing is taken")
  func algorithms() async throws {
    let rsa = try SharedKeys.rsa.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    let names: [JSON?] = [
      "none", "None", "NONE", "nOnE", "", " RS256", "RS256 ", "rs256", "RS-256", "RS1", "RS512", "PS384", "ES256",
      "HS256",
      "EdDSA", "RSA-OAEP", "R\u{fb06}256", "RS\u{0662}56", nil, .null, 256, true, ["RS256"], ["alg": "RS256"],
    ]
    var tried = 0
    for name in names {
      let bytes = Self.header([("alg", name), ("kid", "rsa")])
      let signed = try rsa.sign(bytes, issuer.claims().bytes)
      let unsigned = signed[..<(try #require(signed.lastIndex(of: ".")))]
      for token in [signed, unsigned + ".", String(unsigned), unsigned + ".AA"] {
        #expect(try await !issuer.accepts(token), "\(String(describing: name))")
        tried += 1
      }
    }
    #expect(try await issuer.accepts(rsa.token(issuer.claims())), "and one that is allowed is")
    print("algorithms: \(tried) tokens, 0 accepted")
  }

  @Test("A key serves what it declares and what fits its type, and nothing else")
  func oneFamily() async throws {
    let rsa = try SharedKeys.rsa.get()
    let ec = try TestKey(.ec(.p256), "ec")
    let all = Set(SignatureAlgorithm.allCases)
    let declared = try await FileIssuer(keys: [rsa.jwk([("alg", "RS256")]), ec.jwk()], algorithms: all)
    let open = try await FileIssuer(keys: [rsa.jwk(), ec.jwk()], algorithms: all)
    for algorithm in SignatureAlgorithm.fitting(.rsa(bits: 2048)) {
      let token = try rsa.token(open.claims(), algorithm)
      #expect(try await declared.accepts(token) == (algorithm == .rs256), "\(algorithm)")
      #expect(try await open.accepts(token), "\(algorithm)")
      #expect(try await !open.accepts(rsa.token(open.claims(), algorithm, header: [("kid", "ec")])))
      #expect(try await !open.accepts(rsa.token(open.claims(), algorithm, header: [("alg", "ES256")])))
    }
    let usual = try await FileIssuer(keys: [rsa.jwk(), ec.jwk()])
    #expect(try await !usual.accepts(rsa.token(usual.claims(), .rs512)), "not allowed unless listed")
    #expect(try await usual.accepts(ec.token(usual.claims())))
  }

  @Test("A key or the place of one within the token is not looked at (CVE-2018-0114)")
  func embeddedKeys() async throws {
    let rsa = try SharedKeys.rsa.get()
    let own = try SharedKeys.otherRSA.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    let certificate = JSON.string(Data(try own.spki).base64EncodedString())
    let places: [[(String, JSON?)]] = [
      [("jwk", try own.jwk())], [("jwk", try own.jwk([("kid", nil)])), ("kid", nil)], [("x5c", .array([certificate]))],
      [("jku", "https://attacker.example/keys")], [("x5u", "https://attacker.example/certificate")],
      [("jwk", try own.jwk()), ("kid", "other")], [("x5t", "AAAA"), ("x5t#S256", "AAAA")],
    ]
    for place in places {
      #expect(try await !issuer.accepts(own.token(issuer.claims(), header: place)), "\(place)")
      let honest = place.filter { $0.0 != "kid" }
      #expect(try await issuer.accepts(rsa.token(issuer.claims(), header: honest)), "ignored: \(place)")
    }
  }

  @Test(
    "Header parameters that change what the rest means are refused",
    arguments: [
      ("crit", ["exp"]), ("crit", []), ("crit", nil), ("crit", ["b64"]), ("b64", false), ("b64", true), ("zip", "DEF"),
      ("kid", 1), ("kid", nil), ("kid", ["rsa"]), ("kid", ""), ("kid", "RSA"), ("kid", "rs\u{0}a"), ("typ", 1),
      ("typ", "logout+jwt"), ("typ", "dpop+jwt"),
    ] as [(String, JSON)])
  func parameters(_ name: String, _ value: JSON) async throws {
    let rsa = try SharedKeys.rsa.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    #expect(try await !issuer.accepts(rsa.token(issuer.claims(), header: [(name, value)])))
  }

  @Test("Text that readers take in two ways is refused, though it is well signed")
  func ambiguousText() async throws {
    let rsa = try SharedKeys.rsa.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    let header = #"{"alg":"RS256","kid":"rsa"}"#
    let claims = String(decoding: issuer.claims().bytes, as: UTF8.self)
    #expect(try await issuer.accepts(rsa.sign(Array(header.utf8), Array(claims.utf8))))
    let headers = [
      #"{"alg":"none","alg":"RS256","kid":"rsa"}"#, #"{"alg":"RS256","kid":"rsa","kid":"rsa"}"#, header + " {}", "[]",
      "null",
      "", #"{"alg":"RS256","\u0061lg":"RS256"}"#, "\u{feff}" + header, header.replacing("}", with: ",}"),
      #"{"alg":"RS256","kid":"rsa","x":\#(String(repeating: "[", count: 40) + String(repeating: "]", count: 40))}"#,
    ]
    for header in headers {
      #expect(try await !issuer.accepts(rsa.sign(Array(header.utf8), Array(claims.utf8))), "\(header)")
    }
    let open = claims.dropLast()
    let payloads = [
      open + #","sub":"alice"}"#, open + #","iss":"https://issuer.example"}"#, open + #","exp":99999999999}"#,
      open + #","\u0073ub":"bob"}"#, open + #","aud":"x"}"#, claims + claims, claims + " x", "\u{feff}" + claims,
      "[\(claims)]",
      open + ",}", open + #","x":\ud800"}"#, "", "null", "\"\(issuer.name)\"",
    ]
    for payload in payloads {
      #expect(try await !issuer.accepts(rsa.sign(Array(header.utf8), Array(String(payload).utf8))), "\(payload)")
    }
    let token = try rsa.token(issuer.claims())
    let parts = token.split(separator: ".").map(String.init)
    let forms = [
      token + "=", token + ".", "." + token, token + ".x", " " + token, token + "\n", token + "\u{0}", "", ".", "..",
      "...",
      parts[0] + "=." + parts[1] + "." + parts[2], parts[0] + "." + parts[1], parts.reversed().joined(separator: "."),
      parts[0] + ".." + parts[2], parts[0] + "." + parts[1] + "..", parts.joined(separator: "\u{ff0e}"),
      parts[0] + "." + parts[1] + "." + String(parts[2].dropLast()), parts[0] + "." + parts[1] + "." + parts[2] + "A",
      #"{"protected":"\#(parts[0])","payload":"\#(parts[1])","signature":"\#(parts[2])"}"#, "Bearer " + token,
      String(token.prefix(8000)) + String(repeating: "A", count: 8192),
    ]
    for form in forms { #expect(try await !issuer.accepts(form), "\(form.prefix(40))") }
    print("ambiguous tokens: \(headers.count + payloads.count + forms.count), 0 accepted")
  }

  @Test("A token is taken up to 8 KiB and no further")
  func size() async throws {
    let rsa = try SharedKeys.rsa.get()
    let issuer = try await FileIssuer(keys: [rsa.jwk()])
    func token(_ padding: Int) throws -> String {
      try rsa.token(issuer.claims([("x", .string(String(repeating: "x", count: padding)))]))
    }
    let room = try (8192 - token(0).utf8.count) * 3 / 4 - 4
    #expect(try await issuer.accepts(token(room)))
    #expect(try await !issuer.accepts(token(room + 12)))
  }

  @Test("Every bit of a token counts")
  func bits() async throws {
    let ec = try TestKey(.ec(.p256), "ec")
    let issuer = try await FileIssuer(keys: [ec.jwk()])
    let token = Array(try ec.token(issuer.claims()).utf8)
    for position in token.indices {
      var changed = token
      changed[position] ^= 1
      #expect(try await !issuer.accepts(String(decoding: changed, as: UTF8.self)), "byte \(position)")
    }
    print("tokens with one bit changed: \(token.count), 0 accepted")
  }

  private func pem(_ der: [UInt8], _ label: String) -> [UInt8] {
    let text = Data(der).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
    return Array("-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----".utf8)
  }
}
