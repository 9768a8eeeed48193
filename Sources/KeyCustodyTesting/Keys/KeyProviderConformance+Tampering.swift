import KeyCustody

extension KeyProviderConformance {
  /// Unwrapping what an enemy sends.
  static let tampering: [KeyBehavior] = [
    .init("A wrapped secret does not unwrap under another key", "KeyProvider", otherKeyDoesNotUnwrap),
    .init("A flipped bit in any byte is not authentic", "KeyProvider", flippedBitIsRefused),
    .init("Truncated, extended, empty and huge input is not authentic", "KeyProvider", wrongLengthIsRefused),
    .init("All refusals to unwrap look the same", "KeyProvider", refusalsLookTheSame),
    .init("The provider works after each refusal", "KeyProvider", worksAfterRefusals),
  ]

  @Sendable private static func otherKeyDoesNotUnwrap(_ trial: KeyTrial) async throws {
    let others = try await trial.wrappingKeys()
    for ((key, algorithm), (other, _)) in zip(try await trial.wrappingKeys(), others) {
      let wrapped = try await trial.wrap(key.version, algorithm)
      try await trial.refusesUnwrap(wrapped.bytes, other.version, algorithm, "another key's secret")
      try await trial.expectUnwraps(wrapped.bytes, key.version, algorithm, "after another key was tried")
    }
  }

  @Sendable private static func flippedBitIsRefused(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      let wrapped = try await trial.wrap(key.version, algorithm).bytes
      for index in wrapped.indices {
        var altered = wrapped
        altered[index] ^= 1 << UInt8(index % 8)
        try await trial.refusesUnwrap(altered, key.version, algorithm, "a flipped bit in byte \(index)")
      }
      try await trial.expectUnwraps(wrapped, key.version, algorithm, "after \(wrapped.count) refusals")
    }
  }

  @Sendable private static func wrongLengthIsRefused(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      let wrapped = try await trial.wrap(key.version, algorithm).bytes
      for (what, altered) in mangled(wrapped) {
        try await trial.refusesUnwrap(altered, key.version, algorithm, what)
      }
    }
  }

  @Sendable private static func refusalsLookTheSame(_ trial: KeyTrial) async throws {
    let others = try await trial.wrappingKeys()
    for ((key, algorithm), (other, _)) in zip(try await trial.wrappingKeys(), others) {
      let wrapped = try await trial.wrap(key.version, algorithm).bytes
      var inputs = mangled(wrapped)
      inputs.append(("another key's secret", try await trial.wrap(other.version, algorithm).bytes))
      for index in stride(from: 0, to: wrapped.count, by: max(1, wrapped.count / 16)) {
        var altered = wrapped
        altered[index] ^= 0x80
        inputs.append(("a flipped bit in byte \(index)", altered))
      }
      var first: (what: String, seen: String)?
      for (what, input) in inputs {
        let error = try await thrown("Unwrapping \(what)") { () async throws(KeyCustodyError) in
          _ = try await trial.provider.unwrap(input, with: trial.request(key.version, algorithm))
        }
        let seen = visible(error)
        try expect(
          first.map { $0.seen == seen } ?? true,
          "\(algorithm) refuses \(what) with '\(seen)', but \(first?.what ?? "") with '\(first?.seen ?? "")'.")
        first = first ?? (what, seen)
      }
    }
  }

  @Sendable private static func worksAfterRefusals(_ trial: KeyTrial) async throws {
    for (key, algorithm) in try await trial.wrappingKeys() {
      let wrapped = try await trial.wrap(key.version, algorithm).bytes
      for (what, altered) in mangled(wrapped) {
        _ = try await thrown("Unwrapping \(what)") { () async throws(KeyCustodyError) in
          _ = try await trial.provider.unwrap(altered, with: trial.request(key.version, algorithm))
        }
        try await trial.expectUnwraps(wrapped, key.version, algorithm, "after \(what) was refused")
        let fresh = try await trial.wrap(key.version, algorithm).bytes
        try await trial.expectUnwraps(fresh, key.version, algorithm, "wrapped after \(what) was refused")
      }
    }
  }

  /// Inputs of wrong lengths, and of the right length with nothing sound in them.
  private static func mangled(_ wrapped: [UInt8]) -> [(what: String, bytes: [UInt8])] {
    [
      ("empty input", []), ("one byte", [0]), ("all but the last byte", wrapped.dropLast()),
      ("all but the first byte", Array(wrapped.dropFirst())), ("half of it", Array(wrapped.prefix(wrapped.count / 2))),
      ("all but the last 8 bytes", wrapped.dropLast(8)), ("one byte more", wrapped + [0]),
      ("8 bytes more", wrapped + [UInt8](repeating: 0, count: 8)), ("a zero byte in front", [0] + wrapped),
      ("it twice", wrapped + wrapped), ("as many zero bytes", [UInt8](repeating: 0, count: wrapped.count)),
      ("as many 0xff bytes", [UInt8](repeating: 0xff, count: wrapped.count)),
      ("1 MiB", [UInt8](repeating: 0x5a, count: 1 << 20)),
    ]
  }
}
