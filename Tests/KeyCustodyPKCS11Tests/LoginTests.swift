import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyPKCS11

@Suite("Logging in to a token")
struct LoginTests {
  static let rejected = KeyCustodyError(.credentialRejected, .wrongSecret, "")

  static func wrongPIN(_ token: SoftHSMToken) -> [String: ConfigurationValue] {
    let path = "\(token.pinFile).wrong"
    SoftHSM.write(Array("not-the-pin".utf8), to: path)
    return ["pinFile": .string(path)]
  }

  /// The process's object for a token.
  static func shared(_ token: SoftHSMToken) async throws -> PKCS11Token {
    let selector = try TokenSelector(token.uri)
    return try await BlockingWorker().run { () throws(KeyCustodyError) in
      let module = try PKCS11ModuleHost.shared.acquire(token.module)
      defer { module.removeUser() }
      return try PKCS11Token.shared(try selector.select(in: module).info, of: module)
    }
  }

  @Test("RELIABILITY 3.10: a wrong PIN is shown to the token once a minute at most, and told as such")
  func wrongPINOnce() async throws {
    let token = try await SoftHSM.makeToken()
    let clock = ManualClock()
    let environment = RuntimeEnvironment(time: clock)
    let shared = try await Self.shared(token)
    func openWrongly() async throws {
      await #expect(throws: Self.rejected) {
        _ = try await Backends.keys(token, environment: environment, changing: Self.wrongPIN(token))
      }
    }
    try await openWrongly()
    #expect(shared.loginAttempts == 1)
    let info = try TokenSelector(token.uri).select(in: shared.module).info
    #expect(info.flags & CKF_USER_PIN_COUNT_LOW != 0)
    // Another backend of the same configuration: the token is not asked again.
    try await openWrongly()
    #expect(shared.loginAttempts == 1)
    clock.advance(by: .seconds(61))
    try await openWrongly()
    #expect(shared.loginAttempts == 2)
    // Another PIN is shown at once.
    let right = try await Backends.keys(token)
    #expect(shared.loginAttempts == 3)
    try await right.probe(nil, context: Backends.context)
    await right.close()
  }

  @Test("A wrong PIN does not pass because somebody else is logged in, and the token is not asked")
  func wrongPINBesideLogin() async throws {
    try await Backends.withKeys { provider, token in
      let attempts = provider.token.loginAttempts
      await #expect(throws: Self.rejected) { _ = try await Backends.keys(token, changing: Self.wrongPIN(token)) }
      await #expect(throws: Self.rejected) {
        _ = try await [PKCS11Plugin.plugin].openPolicyStore(
          KeyCustodyConfiguration([
            "s": .section(
              token.settings.merging(Self.wrongPIN(token)) { $1 }.merging(["lockFile": .string("\(token.pinFile).lock")]
              ) {
                $1
              })
          ]).root.section("s"), RuntimeEnvironment())
      }
      #expect(provider.token.loginAttempts == attempts)
      try await provider.probe(nil, context: Backends.context)
    }
  }

  @Test("Two key providers and a store on one token share one login, and any of them may close first")
  func sharedToken() async throws {
    let token = try await SoftHSM.makeToken()
    let first = try await Backends.keys(token)
    let second = try await Backends.keys(token)
    let store = try await Backends.store(token)
    #expect(first.token === second.token)
    #expect(first.token.loginAttempts == 1)
    #expect(first.identity == second.identity && store.identity == first.identity)
    let key = try await first.make(.aes(bits: 256), .wrapping)
    let secret = try SystemRandom().secret(32)
    let wrapped = try await first.wrap(secret, key, .aes256KW)
    await first.close()
    let isSame = try await second.unwrap(wrapped, key, .aes256KW).isEqual(to: secret)
    #expect(isSame)
    let record = try RecordKey("a")
    #expect(try await store.compareAndSet(record, expecting: nil, value: [1]) != .conflict(nil))
    await second.close()
    #expect(try await store.read(record)?.value == [1])
    let third = try await Backends.keys(token)
    #expect(third.token.loginAttempts == 1)
    await store.close()
    let isSameLater = try await third.unwrap(wrapped, key, .aes256KW).isEqual(to: secret)
    #expect(isSameLater)
    await third.close()
    // All are gone, so the login is too: the next opening logs in anew.
    let fourth = try await Backends.keys(token)
    #expect(fourth.token.loginAttempts == 2)
    await fourth.close()
  }

  @Test("A login of somebody else in this process, under a PIN nobody can check, is told and not used")
  func foreignLogin() async throws {
    let token = try await SoftHSM.makeToken()
    let copy = try ModuleCopy()
    let cryptoki = try Cryptoki(path: copy.path)
    try cryptoki.initialize()
    let slot = try #require(
      try cryptoki.slotsWithToken().first { (try? cryptoki.tokenInfo($0).serial) == token.serial })
    let session = try cryptoki.openSession(slot)
    let pin = try SecretReference.read(token.pinFile)
    try cryptoki.login(session, as: CKU_USER, pin: pin)
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await Backends.keys(token, changing: copy.settings(token))
    }
    #expect(error == KeyCustodyError(.unavailable, .init("foreign-login"), ""))
    try cryptoki.closeSession(session)
    // Logged out again: now the PIN is checked by the token.
    let provider = try await Backends.keys(token, changing: copy.settings(token))
    try await provider.probe(nil, context: Backends.context)
    await provider.close()
    try cryptoki.finalize()
  }

  private static func info(_ label: String, _ serial: String, model: String = "m") -> PKCS11TokenInfo {
    PKCS11TokenInfo(label: label, manufacturer: "maker", model: model, serial: serial, flags: 0)
  }

  @Test("A token that is not there is told with the names of those that are")
  func wrongToken() throws {
    let present = [(slot: 0, info: Self.info("one", "1")), (slot: 1, info: Self.info("two", "2"))]
    for uri in ["pkcs11:token=nobody", "pkcs11:token=one;serial=2", "pkcs11:serial=1;model=other"] {
      let selector = try TokenSelector(uri)
      let error = #expect(throws: KeyCustodyError.self) {
        _ = try selector.select(from: present, silent: 0, module: "x")
      }
      #expect(error == KeyCustodyError(.notFound, .init("token-unknown"), ""))
      #expect(error?.message.contains("'one' (serial 1), 'two' (serial 2)") == true)
      // Where a slot does not answer, the token may be in it.
      #expect(throws: KeyCustodyError(.unavailable, .unreachable, "")) {
        _ = try selector.select(from: present, silent: 1, module: "x")
      }
    }
    #expect(try TokenSelector("pkcs11:token=two").select(from: present, silent: 1, module: "x").slot == 1)
    #expect(try TokenSelector("pkcs11:serial=1").select(from: present, silent: 0, module: "x").slot == 0)
  }

  @Test("On SoftHSM, a token that is not there is not opened")
  func wrongTokenOnSoftHSM() async throws {
    let token = try await SoftHSM.makeToken()
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await Backends.keys(token, changing: ["token": "pkcs11:token=nobody"])
    }
    // Other tests take tokens away meanwhile: then a slot is silent, and absence is not certain.
    #expect(error?.code == .notFound || error?.code == .unavailable)
  }

  @Test("Several tokens that fit are an error that names them and asks for the serial number")
  func severalTokens() throws {
    let present = [(slot: 0, info: Self.info("same", "1")), (slot: 1, info: Self.info("same", "2"))]
    let error = #expect(throws: KeyCustodyError.self) {
      _ = try TokenSelector("pkcs11:token=same").select(from: present, silent: 0, module: "x")
    }
    #expect(error == KeyCustodyError(.invalidInput, .badConfigurationValue, ""))
    #expect(error?.message.contains("(serial 1), 'same' (serial 2)") == true)
    #expect(error?.remedy.contains("serial") == true)
  }

  @Test("The identity is the token's own, whatever the configuration calls it")
  func identity() async throws {
    try await Backends.withKeys { provider, token in
      #expect(provider.identity.kind == "pkcs11")
      #expect(provider.identity.instance == "SoftHSM project/SoftHSM v2/\(token.serial)")
      let other = try await Backends.keys(token, changing: ["token": .string("pkcs11:serial=\(token.serial)")])
      #expect(other.identity == provider.identity)
      await other.close()
    }
  }
}
