import CBaseline
import KeyCustody
import KeyCustodyPKCS11

/// A job on a token: ours through the provider's public interface, or the bare calls in C.
enum TokenJob: CaseIterable {
  case rsaUnwrap
  case aesUnwrap
  case aesWrap
  /// As by default: what was wrapped is unwrapped again and compared before it goes out. C only wraps.
  case aesWrapChecked

  var name: String {
    switch self {
    case .rsaUnwrap: "hsm-rsa-unwrap"
    case .aesUnwrap: "hsm-aes-unwrap"
    case .aesWrap: "hsm-aes-wrap"
    case .aesWrapChecked: "hsm-aes-wrap-checked"
    }
  }
  /// What our speed is to be, against that of the bare calls.
  var goal: Double? {
    switch self {
    case .rsaUnwrap: 0.95
    case .aesUnwrap: 0.85
    case .aesWrap: 0.70
    case .aesWrapChecked: nil
    }
  }
  var algorithm: WrapAlgorithm { self == .rsaUnwrap ? .rsaOAEP : .aes256KW }
  /// How often it is done in a round: a third of a second's work, a multiple of the callers.
  var count: Int {
    let count = self == .rsaUnwrap ? 400 : 8_000
    return Options.current.isQuick ? count / 10 : count
  }
  fileprivate var bare: hsm_job {
    switch self {
    case .rsaUnwrap: hsm_rsa_unwrap
    case .aesUnwrap: hsm_aes_unwrap
    case .aesWrap, .aesWrapChecked: hsm_aes_wrap
    }
  }
}

/// A token with an RSA and an AES key, reached by the provider and by C.
final class BenchToken {
  /// What tells the providers apart: as many sessions as callers, and whether wraps are checked.
  private struct Kind: Hashable {
    let callers: Int
    var isChecked = false
  }
  private let providers: [Kind: any KeyProvider]
  private let bare: OpaquePointer
  private let keys: [WrapAlgorithm: (version: KeyVersionID, handle: UInt)]
  private let secret: [UInt8] = Array("a secret of thirty-two bytes....".utf8)
  private let wrapped: [WrapAlgorithm: [UInt8]]

  /// How many callers there are at once.
  static let callers = [1, 4]

  /// Opens a token, makes its keys and `others` that nobody uses.
  init(_ hsm: SoftHSM, _ token: (label: String, pinFile: String), others: Int) async throws {
    var providers: [Kind: any KeyProvider] = [:]
    for kind in Self.callers.flatMap({ [Kind(callers: $0), Kind(callers: $0, isChecked: true)] }) {
      let section = KeyCustodyConfiguration([
        "plugin": "pkcs11", "module": .string(hsm.module), "token": .string("pkcs11:token=\(token.label)"),
        "pinFile": .string(token.pinFile), "sessions": .integer(kind.callers),
        "checkWraps": .boolean(kind.isChecked),
      ]).root
      providers[kind] = try await [PKCS11Plugin.plugin].openKeyProvider(section, RuntimeEnvironment())
    }
    self.providers = providers
    // After the providers: they are the ones that log in.
    guard let bare = hsm_open(hsm.module, token.label, Int32(Self.callers.max() ?? 1)) else { throw Self.refused() }
    self.bare = bare
    guard let provider = providers[Kind(callers: 1)] else {
      throw Unexpected(description: "No provider for one caller.")
    }
    var keys: [WrapAlgorithm: (version: KeyVersionID, handle: UInt)] = [:]
    var wrapped: [WrapAlgorithm: [UInt8]] = [:]
    for (algorithm, type) in [(WrapAlgorithm.rsaOAEP, KeyType.rsa(bits: 2048)), (.aes256KW, .aes(bits: 256))] {
      let version = try KeyVersionID(random: SystemRandom())
      let context = CallContext(purpose: .resource)
      _ = try await provider.generate(
        GenerateKeyRequest(version: version, type: type, role: .wrapping), context: context)
      let handle = hsm_find(bare, version.bytes, version.bytes.count)
      guard handle != 0 else { throw Self.refused() }
      keys[algorithm] = (version, handle)
      let request = WrapRequest(version: version, algorithm: algorithm, context: context)
      wrapped[algorithm] = try await provider.wrap(SecretBytes(copying: secret), with: request).bytes
    }
    self.keys = keys
    self.wrapped = wrapped
    guard hsm_fill(bare, Int32(others)) == 0 else { throw Self.refused() }
  }

  func close() async {
    // Before the providers: the last of them ends the login and the module.
    hsm_close(bare)
    for provider in providers.values { await provider.close() }
  }

  private static func refused() -> Unexpected {
    Unexpected(description: "The module refused the bare calls: \(String(cString: hsm_refusal())).")
  }

  private func input(of job: TokenJob) throws -> (version: KeyVersionID, handle: UInt, bytes: [UInt8], answer: [UInt8])
  {
    guard let key = keys[job.algorithm], let wrapped = wrapped[job.algorithm] else {
      throw Unexpected(description: "No key for \(job.name).")
    }
    return job == .aesWrap || job == .aesWrapChecked
      ? (key.version, key.handle, secret, wrapped) : (key.version, key.handle, wrapped, secret)
  }

  /// Nanoseconds for each job by the provider.
  func ours(_ job: TokenJob, callers: Int) async throws -> Double {
    let kind = Kind(callers: callers, isChecked: job == .aesWrapChecked)
    guard let provider = providers[kind] else { throw Unexpected(description: "No provider for \(callers).") }
    let (version, _, bytes, answer) = try input(of: job)
    let request = WrapRequest(
      version: version, algorithm: job.algorithm, context: CallContext(purpose: .resource))
    let share = job.count / callers
    return try await time(job.count) {
      try await withThrowingTaskGroup { group in
        for _ in 0..<callers {
          group.addTask { try await Self.call(provider, job, request, bytes, answer, times: share) }
        }
        try await group.waitForAll()
      }
    }
  }

  /// One caller: waits for each answer, then asks again.
  private static func call(
    _ provider: any KeyProvider, _ job: TokenJob, _ request: WrapRequest, _ bytes: [UInt8], _ answer: [UInt8],
    times: Int
  ) async throws {
    switch job {
    case .rsaUnwrap, .aesUnwrap:
      for _ in 1..<times { _ = try await provider.unwrap(bytes, with: request) }
      let isRight = try await provider.unwrap(bytes, with: request).isEqual(to: SecretBytes(copying: answer))
      guard isRight else { throw Unexpected(description: "The provider unwrapped something else.") }
    case .aesWrap, .aesWrapChecked:
      let secret = SecretBytes(copying: bytes)
      for _ in 1..<times { _ = try await provider.wrap(secret, with: request) }
      guard try await provider.wrap(secret, with: request).bytes == answer else {
        throw Unexpected(description: "The provider wrapped something else.")
      }
    }
  }

  /// Nanoseconds for each job by the bare calls.
  func bare(_ job: TokenJob, callers: Int) throws -> Double {
    let (_, handle, bytes, answer) = try input(of: job)
    var output = [UInt8](repeating: 0, count: 1024)
    var length = output.count
    let taken = hsm_run(
      bare, job.bare, handle, bytes, bytes.count, &output, &length, Int32(callers), Int32(job.count))
    guard taken > 0 else { throw Self.refused() }
    guard output.prefix(length) == answer[...] else {
      throw Unexpected(description: "The bare calls gave something else.")
    }
    return Double(taken) / Double(job.count)
  }
}
