import KeyCustody

/// A look at a token, opened anew and without faults, after a scenario ended or was killed.
struct TokenCheck {
  private struct Key {
    var fingerprint: [UInt8]?
    var isBeingDestroyed = false
    var isDestroyed = false
    var wraps: [(algorithm: WrapAlgorithm, wrapped: [UInt8], secret: [UInt8])] = []

    /// Whether nobody was told what became of it.
    var isUnknown: Bool { !isDestroyed && (fingerprint == nil || isBeingDestroyed) }
    /// Whether it must be there and work.
    var isAlive: Bool { fingerprint != nil && !isBeingDestroyed }
  }

  private var keys: [KeyVersionID: Key] = [:]

  init(_ entries: [Journal.Entry]) {
    for entry in entries {
      switch entry {
      case .making(let version): keys[version] = Key()
      case .made(let version, let fingerprint): keys[version]?.fingerprint = fingerprint
      case .destroying(let version): keys[version]?.isBeingDestroyed = true
      case .destroyed(let version): keys[version]?.isDestroyed = true
      case .wrapped(let version, let algorithm, let wrapped, let secret):
        keys[version]?.wraps.append((algorithm, wrapped, secret))
      }
    }
  }

  /// Compares a token with the journal, and empties it.
  ///
  /// - Returns: what is not as it should be.
  func run(on target: Target) async throws -> [String] {
    let provider = try await target.open()
    var problems: [String] = []
    do {
      problems += try await look(provider)
      problems += try await empty(provider)
    } catch { problems.append("the look at the token: \(Self.text(error))") }
    await provider.close()
    return problems
  }

  private func look(_ provider: any KeyProvider) async throws -> [String] {
    var problems: [String] = []
    var expected: Set<KeyVersionID> = []
    for (version, key) in keys {
      let found = try await provider.find(version)
      if key.isDestroyed, found != nil { problems.append("the destroyed key \(version) is still there") }
      if key.isAlive, found == nil { problems.append("the acknowledged key \(version) is gone") }
      if let found {
        if !key.isDestroyed { expected.insert(version) }
        if let fingerprint = key.fingerprint, found.fingerprint != fingerprint {
          problems.append("\(version) is another key now")
        }
        for wrap in key.wraps where try await provider.unwrap(wrap.wrapped, version, wrap.algorithm) != wrap.secret {
          problems.append("\(version) unwraps wrong bytes")
        }
      }
    }
    let listed = try await provider.names()
    if listed != expected {
      let (more, fewer) = (listed.subtracting(expected), expected.subtracting(listed))
      problems.append("the inventory lists \(more.count) keys too many, \(fewer.count) too few")
    }
    for leftover in try await provider.inventory?.leftovers() ?? [] {
      guard let version = leftover.version, keys[version]?.isUnknown ?? false else {
        problems.append("left over: \(leftover.what)")
        continue
      }
    }
    return problems
  }

  /// What nobody was told of can be destroyed as well, whole or half made.
  private func empty(_ provider: any KeyProvider) async throws -> [String] {
    for version in Set(keys.keys).union(try await provider.names()) {
      do { try await provider.destroy(version) } catch let error as KeyCustodyError {
        guard error.code == .notFound else { throw error }
      }
    }
    let left = try await provider.names().count
    let halves = try await provider.inventory?.leftovers().count ?? 0
    return left + halves == 0 ? [] : ["\(left) keys and \(halves) leftovers can't be destroyed"]
  }

  static func text(_ error: any Error) -> String {
    (error as? KeyCustodyError)?.debugDescription ?? "\(error)"
  }
}
