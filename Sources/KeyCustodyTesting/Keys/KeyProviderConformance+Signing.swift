import KeyCustody

extension KeyProviderConformance {
  /// Signing.
  static let signing: [KeyBehavior] = [
    .init("A digest of the wrong length is refused", "KeyProvider", wrongDigestIsRefused),
    .init(
      "A signature algorithm that does not fit the key is refused", "KeyProvider", wrongSignatureAlgorithmIsRefused),
    .init("An ECDSA signature is r and s, each as long as a coordinate", "KeyProvider", signatureLengths),
    .init("Signatures verify, over their digest and under their key alone", "V8", signaturesVerify),
  ]

  @Sendable private static func wrongDigestIsRefused(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.signingKeys() {
      let right = algorithm.digestLength
      for length in [0, 1, 20, right - 1, right + 1, 2 * right, 4096] {
        try await refused(.invalidInput, .wrongSize, "Signing a digest of \(length) bytes with \(algorithm.rawValue)") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.sign(
            [UInt8](repeating: 9, count: length), with: trial.request(key.version, algorithm))
        }
      }
      _ = try await trial.sign(trial.digest(for: algorithm), key.version, algorithm)
    }
  }

  @Sendable private static func wrongSignatureAlgorithmIsRefused(_ trial: KeyTrial) async throws {
    let all = try trial.someSigning()
    var tried = 0
    for type in Set(all.map(\.type)) {
      let unfit = all.map(\.algorithm).filter { !SignatureAlgorithm.fitting(type).contains($0) }
      guard !unfit.isEmpty else { continue }
      let key = try await trial.generate(type, .signing)
      for algorithm in unfit {
        tried += 1
        try await refused(.invalidInput, .wrongKeyType, "Signing with \(algorithm.rawValue) under an \(type) key") {
          () async throws(KeyCustodyError) in
          _ = try await trial.provider.sign(trial.digest(for: algorithm), with: trial.request(key.version, algorithm))
        }
      }
    }
    if tried == 0 { throw NotApplicable("every signing key here takes every algorithm offered") }
  }

  @Sendable private static func signatureLengths(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.signingKeys() {
      let wanted: Int
      switch key.type {
      case .ec(let curve): wanted = 2 * curve.coordinateLength
      case .rsa(let bits): wanted = bits / 8
      case .aes: continue
      }
      // Several times: a number that begins with zeros is where a length goes wrong.
      for seed in UInt8(0)..<16 {
        let signature = try await trial.sign(trial.digest(for: algorithm, seed: seed), key.version, algorithm)
        try expect(
          signature.count == wanted, "\(algorithm.rawValue) gave \(signature.count) bytes, \(wanted) are due.")
      }
    }
  }

  @Sendable private static func signaturesVerify(_ trial: KeyTrial) async throws {
    guard let verify = trial.subject.verify else { throw NotApplicable("the subject has nothing to verify with") }
    let others = try await trial.signingKeys()
    for ((key, algorithm), (other, _)) in zip(try await trial.signingKeys(), others) {
      guard let publicKey = key.publicKey, let otherKey = other.publicKey else {
        throw ConformanceViolation("A signing key of type \(key.type) has no public key.")
      }
      let digest = trial.digest(for: algorithm)
      let signature = try await trial.sign(digest, key.version, algorithm)
      let good = try verify(signature, digest, publicKey, algorithm)
      try expect(good, "A signature by \(algorithm.rawValue) does not verify.")
      let altered = try verify(signature, trial.digest(for: algorithm, seed: 2), publicKey, algorithm)
      try expect(!altered, "A signature by \(algorithm.rawValue) verifies over another digest.")
      let foreign = try verify(signature, digest, otherKey, algorithm)
      try expect(!foreign, "A signature by \(algorithm.rawValue) verifies under another key.")
    }
  }
}
