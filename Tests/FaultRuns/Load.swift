import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Clients that use keys of a provider all the time, each one operation after the other.
struct Load: Sendable {
  /// What a client does.
  enum Operation: CaseIterable { case unwrapAES, unwrapRSA, wrap, sign, describe }

  private struct WrappingKey: Sendable {
    let key: KeyDescription
    let algorithm: WrapAlgorithm
    let secret: [UInt8]
    let wrapped: [UInt8]
  }

  let provider: any KeyProvider
  let meter = Meter()
  private let aes: [WrappingKey]
  private let rsa: [WrappingKey]
  private let signing: [KeyDescription]
  private let isStopped = Flag()
  private let time = SystemTime()
  /// How long an operation may be repeated before it counts as lost.
  private static let patience: Duration = .seconds(30)

  /// Makes the keys; without RSA keys every unwrap is AES, and the reverse.
  init(_ provider: any KeyProvider, hasRSA: Bool = true) async throws {
    func make(_ type: KeyType, _ role: KeyRole) async throws -> KeyDescription {
      try await provider.generate(
        GenerateKeyRequest(version: KeyVersionID(random: SystemRandom()), type: type, role: role),
        context: CallContext(purpose: .administration))
    }
    func wrapping(_ type: KeyType, _ algorithm: WrapAlgorithm) async throws -> WrappingKey {
      let key = try await make(type, .wrapping)
      let secret = try SystemRandom().bytes(32)
      let wrapped = try await provider.wrap(secret, key.version, algorithm)
      return WrappingKey(key: key, algorithm: algorithm, secret: secret, wrapped: wrapped)
    }
    self.provider = provider
    var aes: [WrappingKey] = []
    // The protocol of a remote module may not know AES key wrap.
    let hasAES = provider.capabilities.offers(.unwrap(.aes256KW))
    for _ in 0..<(hasAES ? 4 : 0) { aes.append(try await wrapping(.aes(bits: 256), .aes256KW)) }
    self.aes = aes
    rsa =
      hasRSA
      ? [try await wrapping(.rsa(bits: 2048), .rsaOAEP256), try await wrapping(.rsa(bits: 2048), .rsaOAEP)] : []
    signing = [try await make(.ec(.p256), .signing), try await make(.ec(.p256), .signing)]
  }

  /// Runs so many clients until ``stop()``; each waits `pause` between its operations.
  func run(_ clients: Int, pause: Duration = .zero) async {
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<clients {
        group.addTask {
          while !isStopped.isSet {
            await operate()
            if pause > .zero { try? await time.wait(until: time.running() + pause) }
          }
        }
      }
    }
  }

  /// Ends the clients after their present operation.
  func stop() { isStopped.set() }

  /// One operation, repeated as its errors allow.
  private func operate() async {
    let operation = Self.draw()
    let begin = time.running()
    while true {
      let start = time.running()
      do {
        let isRight = try await run(operation)
        return meter.success(isRight, time.running() - start)
      } catch {
        let now = time.running()
        let error = error as? KeyCustodyError ?? KeyCustodyError(.fault, .internalFault, "\(error)")
        let isFinal = !Client.mayRepeat(error) || now - begin > Self.patience
        meter.failure(error, now - start, isFinal: isFinal)
        if isFinal { return }
        try? await time.wait(until: now + (error.retryAfter ?? .milliseconds(50)))
      }
    }
  }

  /// 60% AES unwrap, 20% RSA unwrap, 10% wrap, 5% sign, 5% describe.
  private static func draw() -> Operation {
    switch Int.random(in: 0..<100) {
    case 0..<60: .unwrapAES
    case 60..<80: .unwrapRSA
    case 80..<90: .wrap
    case 90..<95: .sign
    default: .describe
    }
  }

  /// Whether the result is what it has to be.
  private func run(_ operation: Operation) async throws -> Bool {
    switch operation {
    case .unwrapAES, .unwrapRSA:
      let isRSA = (operation == .unwrapRSA && !rsa.isEmpty) || aes.isEmpty
      guard let one = (isRSA ? rsa : aes).randomElement() else { return false }
      return try await provider.unwrap(one.wrapped, one.key.version, one.algorithm) == one.secret
    case .wrap:
      guard let one = aes.randomElement() else { return try await wrapAsymmetrically() }
      // AES key wrap has one answer for a key and a secret.
      return try await provider.wrap(one.secret, one.key.version, one.algorithm) == one.wrapped
    case .sign:
      guard let key = signing.randomElement() else { return false }
      let digest = try SystemRandom().bytes(32)
      let signature = try await provider.sign(digest, key.version, .es256)
      return try PublicKey(spki: key.publicKey ?? []).verify(signature, digest: digest, .es256)
    case .describe:
      guard let key = (aes + rsa).map(\.key).randomElement() else { return false }
      return try await provider.describe(key.version).fingerprint == key.fingerprint
    }
  }

  private func wrapAsymmetrically() async throws -> Bool {
    guard let one = rsa.randomElement() else { return false }
    return try await !provider.wrap(one.secret, one.key.version, one.algorithm).isEmpty
  }
}

/// Set once.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isSet: Bool { value.load(ordering: .acquiring) }
  func set() { value.store(true, ordering: .releasing) }
}
