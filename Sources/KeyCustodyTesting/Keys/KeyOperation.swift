import KeyCustody

/// The operations of a provider that faults are tried on.
enum KeyOperation: String, Sendable, CaseIterable {
  case generate, importKey = "import", describe, wrap, unwrap, sign, destroy, inventory, probe

  /// Whether it makes or ends a key.
  var isChange: Bool { [.generate, .importKey, .destroy].contains(self) }
  /// Whether it makes a key.
  var makesKey: Bool { self == .generate || self == .importKey }

  /// What a fault of a kind can do to it.
  func isConcerned(by kind: FaultKind) -> Bool {
    switch kind {
    case .crash: isChange
    case .full: makesKey
    case .credentialRefused: false
    default: true
    }
  }
}

/// What one operation is done to.
struct KeyTarget: Sendable {
  /// The key made, or worked with.
  var request: GenerateKeyRequest
  /// What is brought in.
  var material: [UInt8] = []
  /// With what it wraps, and what was wrapped before.
  var wrapping: (algorithm: WrapAlgorithm, bytes: [UInt8])?
  /// With what it signs.
  var signing: SignatureAlgorithm?

  var version: KeyVersionID { request.version }
}

/// What an operation answered.
enum KeyAnswer: Sendable {
  case key(KeyDescription)
  case wrapped(WrappedSecret)
  case secret([UInt8])
  case signature([UInt8])
  case versions([KeyVersionID])
  case done
}

extension KeyTrial {
  /// Does an operation once.
  func perform(
    _ operation: KeyOperation, _ target: KeyTarget, deadline: Duration? = nil
  ) async throws(KeyCustodyError) -> KeyAnswer {
    var context = context
    context.deadline = deadline
    let algorithm = target.wrapping?.algorithm ?? .aes256KW
    let wrapRequest = WrapRequest(version: target.version, algorithm: algorithm, context: context)
    switch operation {
    case .generate: return .key(try await provider.generate(target.request, context: context))
    case .importKey:
      return .key(
        try await provider.importKey(SecretBytes(copying: target.material), as: target.request, context: context))
    case .describe: return .key(try await provider.describe(target.version, context: context))
    case .wrap: return .wrapped(try await provider.wrap(SecretBytes(copying: Self.secret), with: wrapRequest))
    case .unwrap: return .secret(try await provider.unwrap(target.wrapping?.bytes ?? [], with: wrapRequest).testBytes)
    case .sign:
      let algorithm = target.signing ?? .es256
      return .signature(
        try await provider.sign(
          digest(for: algorithm), with: SignRequest(version: target.version, algorithm: algorithm, context: context)))
    case .destroy:
      try await provider.destroy(target.version, context: context)
      return .done
    case .inventory:
      var all: [KeyVersionID] = []
      while let inventory = provider.inventory {
        let page = try await inventory.versions(after: all.last, limit: 100)
        all += page
        if page.count < 100 { break }
      }
      return .versions(all)
    case .probe:
      try await provider.probe(target.version, context: context)
      return .done
    }
  }
}
