import Dispatch
import KeyCustodyMemory
import Synchronization

@testable import KeyCustody
@testable import KeyCustodyCrypto
@testable import KeyCustodyVault

/// A clock that stands still.
private struct FixedTime: TimeSource {
  func now() -> Timestamp { Timestamp(seconds: 1_700_000_000) }
  func running() -> Duration { .zero }
  func wait(until deadline: Duration) async throws(CancellationError) {}
}

extension FuzzTarget {
  private static let signer = made { try SoftwareKey.read(SecretBytes(copying: sampleKey), as: .ec(.p256)) }
  private static let claims =
    "{\"iss\":\"https://issuer.example/tenant-1/v2.0\",\"aud\":\"vault\",\"iat\":1700000000,\"nbf\":1700000000,\"exp\":1700003600,"
    + "\"sub\":\"user-1\",\"tid\":\"tenant-1\",\"oid\":\"o\",\"jti\":\"j\"}"
  private static let head = "{\"alg\":\"ES256\",\"kid\":\"000102030405060708090a0b0c0d0e0f\",\"typ\":\"JWT\"}"

  private static func signedPart(_ head: String, _ claims: String) -> String {
    Array(head.utf8).base64URL + "." + Array(claims.utf8).base64URL
  }

  private static func token(_ head: String, _ claims: String) -> String {
    let signed = signedPart(head, claims)
    let signature = made { try signer.sign(try Hashing.sha256(Array(signed.utf8)), .es256) }
    return signed + "." + signature.base64URL
  }

  /// A provider that is there and never used: verifying needs the recorded public key alone.
  ///
  /// Opening it waits for threads of its own, so this is the one place that blocks.
  private static let provider: MemoryKeyProvider = {
    let opened = Mutex<MemoryKeyProvider?>(nil)
    let done = DispatchSemaphore(value: 0)
    Task.detached {
      let made = try? await MemoryKeyProvider()
      opened.withLock { $0 = made }
      done.signal()
    }
    done.wait()
    guard let made = opened.withLock({ $0 }) else { violated("setting up: no provider") }
    return made
  }()

  private static let authority: TokenAuthority = {
    let signingProvider = provider
    return immediately { () async -> TokenAuthority in
      do {
        let key = TokenAuthority.SigningKey(
          version: try KeyVersionID("000102030405060708090a0b0c0d0e0f"), algorithm: .es256,
          publicKey: (try signer.publicKey() ?? []).base64URL, provider: signingProvider.identity, isReady: true)
        let store = try MemoryPolicyStore()
        _ = try await RecordView<TokenAuthority.SigningKey>(store).create(try RecordKey("directory/signing-key"), key)
        return try await TokenAuthority(
          store: store, signer: signingProvider, issuer: "https://issuer.example",
          environment: RuntimeEnvironment(time: FixedTime()))
      } catch { violated("setting up: \(error)") }
    }
  }()

  /// Tokens: none verifies but one whose head and claims were signed.
  ///
  /// The first byte chooses: a bare token; or head and claims as JSON lines, which are signed, so that the reading of
  /// claims is reached.
  static let token = FuzzTarget(
    name: "token",
    seeds: {
      let good = token(head, claims)
      return [
        [0] + Array(good.utf8), [1] + Array("\(head)\n\(claims)".utf8), [0] + Array("e30.e30.".utf8),
        [1] + Array("{\"alg\":\"none\"}\n\(claims)".utf8),
      ]
    },
    run: { input in
      guard let mode = input.first else { return }
      var text = String(decoding: input.dropFirst(), as: UTF8.self)
      let isSigned = mode % 16 == 1
      if isSigned {
        let parts = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else { return }
        text = token(parts[0], parts[1])
      }
      let token = text
      guard let found = allowing([.credentialRejected], { try authority.verify(token, audiences: ["vault"]) })
      else { return }
      let tenant = found.principal?.tenant.folded ?? ""
      require(
        found.iss == "https://issuer.example/\(tenant)/v2.0" && found.aud == "vault",
        "a token of another issuer or audience")
      require(found.nbf <= 1_700_000_000 && found.exp > 1_700_000_000, "a token outside its time")
      // Of tokens that were not signed just now, only the seed's was ever signed.
      require(isSigned || text.hasPrefix(signedPart(head, claims) + "."), "a forged token verifies")
    })
}
