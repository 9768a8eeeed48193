import KeyCustody

extension KeyProviderConformance {
  /// Wrapping and unwrapping, where nobody is hostile.
  static let wrapping: [KeyBehavior] = [
    .init("A256KW wraps 16, 24 and 32 bytes into 8 more", "V8", aesKeyWrapSizes),
    .init("RSA-OAEP wraps 16 to 64 bytes, differently every time", "V8", oaepSizes),
    .init("A secret of the wrong size is refused", "KeyProvider", wrongSizesAreRefused),
    .init("An algorithm that does not fit the key's type is refused", "KeyProvider", wrongAlgorithmIsRefused),
    .init("A wrapped secret names the version and algorithm used", "DESIGN 3", wrappedSecretNamesItsKey),
    .init("RSA-OAEP and RSA-OAEP-256 are not interchangeable", "KeyProvider", oaepHashesDiffer),
    .init("A signing key neither wraps nor unwraps", "DESIGN 8", signingKeyDoesNotWrap),
    .init("A wrapping key does not sign", "DESIGN 8", wrappingKeyDoesNotSign),
    .init("No error tells the secret it was about", "KeyProvider", errorsTellNoSecret),
  ]

  @Sendable private static func aesKeyWrapSizes(_ trial: KeyTrial) async throws {
    guard let (algorithm, type) = trial.wrapping.first(where: { $0.algorithm == .aes256KW }) else {
      throw NotApplicable("A256KW is not offered")
    }
    let key = try await trial.generate(type, .wrapping)
    for size in [16, 24, 32] {
      let secret = [UInt8](KeyTrial.secret.prefix(size))
      let wrapped = try await trial.wrap(secret, key.version, algorithm).bytes
      try expect(wrapped.count == size + 8, "A256KW wrapped \(size) bytes into \(wrapped.count).")
      try await trial.expectUnwraps(wrapped, to: secret, key.version, algorithm, "at \(size) bytes")
    }
  }

  @Sendable private static func oaepSizes(_ trial: KeyTrial) async throws {
    let all = try await trial.wrappingKeys().filter { $0.algorithm.isAsymmetric }
    guard !all.isEmpty else { throw NotApplicable("neither RSA-OAEP nor RSA-OAEP-256 is offered") }
    for (key, algorithm) in all {
      for size in [16, 24, 32, 48, 64] {
        let secret = (0..<size).map { UInt8($0) }
        let wrapped = try await trial.wrap(secret, key.version, algorithm).bytes
        if case .rsa(let bits) = key.type {
          try expect(wrapped.count == bits / 8, "\(algorithm) under an \(key.type) key gave \(wrapped.count) bytes.")
        }
        let again = try await trial.wrap(secret, key.version, algorithm).bytes
        try expect(wrapped != again, "\(algorithm) wrapped the same secret twice into the same bytes.")
        try await trial.expectUnwraps(wrapped, to: secret, key.version, algorithm, "at \(size) bytes")
      }
    }
  }

  @Sendable private static func wrongSizesAreRefused(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      for size in algorithm == .aes256KW ? [0, 7, 8, 33, 40, 10_000] : [10_000] {
        try await refused(.invalidInput, .wrongSize, "Wrapping \(size) bytes with \(algorithm)") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.wrap(
            SecretBytes(copying: [UInt8](repeating: 5, count: size)), with: trial.request(key.version, algorithm))
        }
      }
      let wrapped = try await trial.wrap(key.version, algorithm)
      try await trial.expectUnwraps(wrapped.bytes, key.version, algorithm, "after secrets of wrong sizes were refused")
    }
  }

  @Sendable private static func wrongAlgorithmIsRefused(_ trial: KeyTrial) async throws {
    let keys = try await trial.wrappingKeys()
    var tried: Set<KeyType> = []
    for (key, _) in keys where tried.insert(key.type).inserted {
      for (_, algorithm) in keys where !WrapAlgorithm.fitting(key.type).contains(algorithm) {
        try await trial.refusesToWrap(key.version, algorithm, "with \(algorithm) under an \(key.type) key")
      }
    }
    if tried.count < 2 { throw NotApplicable("all wrapping keys here are of one kind") }
  }

  @Sendable private static func wrappedSecretNamesItsKey(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      let wrapped = try await trial.wrap(key.version, algorithm)
      try expect(wrapped.version == key.version, "Wrapped under \(key.version), the answer names \(wrapped.version).")
      try expect(
        wrapped.algorithm == algorithm, "Wrapped with \(algorithm), the answer names '\(wrapped.algorithm)'.")
    }
  }

  @Sendable private static func oaepHashesDiffer(_ trial: KeyTrial) async throws {
    let both = trial.wrapping.filter { $0.algorithm.isAsymmetric }
    guard both.count == 2 else { throw NotApplicable("RSA-OAEP and RSA-OAEP-256 are not both offered") }
    let key = try await trial.generate(both[0].type, .wrapping)
    for (used, asked) in [(WrapAlgorithm.rsaOAEP, WrapAlgorithm.rsaOAEP256), (.rsaOAEP256, .rsaOAEP)] {
      let wrapped = try await trial.wrap(key.version, used)
      try await trial.refusesUnwrap(wrapped.bytes, key.version, asked, "what \(used) wrapped")
    }
  }

  @Sendable private static func signingKeyDoesNotWrap(_ trial: KeyTrial) async throws {
    var keys: [KeyType: KeyDescription] = [:]
    for (algorithm, type) in trial.wrapping where trial.signing.contains(where: { $0.type == type }) {
      let key = if let made = keys[type] { made } else { try await trial.generate(type, .signing) }
      keys[type] = key
      try await trial.refusesToWrap(key.version, algorithm, "under a signing key")
    }
    if keys.isEmpty { throw NotApplicable("no type of key both signs and wraps here") }
  }

  @Sendable private static func wrappingKeyDoesNotSign(_ trial: KeyTrial) async throws {
    guard let wrapping = trial.wrapping.first, !trial.signing.isEmpty else {
      throw NotApplicable("this provider does not both wrap and sign")
    }
    let pair = trial.signing.compactMap { signing in
      trial.wrapping.contains { $0.type == signing.type } ? (signing.algorithm, signing.type) : nil
    }.first
    let key = try await trial.generate(pair?.1 ?? wrapping.type, .wrapping)
    let algorithm = pair?.0 ?? trial.signing[0].algorithm
    try await refused(.invalidInput, .wrongKeyType, "Signing with a wrapping key") { () async throws(KeyCustodyError) in
      _ = try await trial.provider.sign(trial.digest(for: algorithm), with: trial.request(key.version, algorithm))
    }
  }

  @Sendable private static func errorsTellNoSecret(_ trial: KeyTrial) async throws {
    let secret = (0..<33).map { UInt8(0xd0 ^ $0) }
    for (key, algorithm) in try await trial.wrappingKeys() {
      let long = [UInt8]((0..<400).map { _ in secret }.joined())
      for bytes in algorithm == .aes256KW ? [secret, long] : [long] {
        let error = try await thrown("Wrapping \(bytes.count) bytes with \(algorithm)") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.wrap(
            SecretBytes(copying: bytes), with: trial.request(key.version, algorithm))
        }
        let text = error.debugDescription.lowercased()
        let start = [UInt8](secret.prefix(6))
        let telling = [start.hexadecimal, start.base64URL.lowercased(), start.map(String.init).joined(separator: ", ")]
        try expect(!telling.contains { text.contains($0) }, "An error shows the secret: '\(error.debugDescription)'.")
      }
    }
  }
}

extension KeyTrial {
  /// Wrapping and unwrapping must both be refused because the key does not fit.
  func refusesToWrap(_ version: KeyVersionID, _ algorithm: WrapAlgorithm, _ how: String) async throws {
    let request = request(version, algorithm)
    try await refused(.invalidInput, .wrongKeyType, "Wrapping \(how)") { () async throws(KeyCustodyError) in
      _ = try await provider.wrap(SecretBytes(copying: Self.secret), with: request)
    }
    try await refused(.invalidInput, .wrongKeyType, "Unwrapping \(how)") { () async throws(KeyCustodyError) in
      _ = try await provider.unwrap([UInt8](repeating: 3, count: algorithm == .aes256KW ? 40 : 256), with: request)
    }
  }
}
