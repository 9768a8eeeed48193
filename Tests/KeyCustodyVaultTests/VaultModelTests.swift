import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// A vault against a model of a few lines, through a thousand random operations.
struct VaultModelTests {
  private struct Key {
    var versions: [KeyURI] = []
    var disabled: Set<KeyURI> = []
    var purgeable: Timestamp?
    var wrapped: [Vaults.Wrapped] = []
  }

  /// The next number below a bound.
  private struct Dice {
    let random: SeededRandom
    func roll(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
  }

  @Test("V1-V3, V6: 1,000 random operations answer as the model says", arguments: [1, 20_260_101, 0xfeed] as [UInt64])
  func thousandOperations(_ seed: UInt64) async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: seed != 1)
    let dice = Dice(random: SeededRandom(seed: seed))
    var model: [String: Key] = [:]
    var done: [String: Int] = [:]
    for step in 0..<1000 {
      let name = "k\(dice.roll(6))"
      let when: Comment = "seed \(seed), step \(step), key \(name)"
      let operation = dice.roll(9)
      let expected = expectation(operation, model[name], bench)
      let outcome = await failure {
        try await run(operation, name, &model, bench, dice)
      }
      #expect(outcome == expected, "operation \(operation), \(when)")
      if outcome != expected { return }
      done["\(operation) \(outcome == nil)", default: 0] += 1
      try await check(model[name], name, bench, when)
    }
    try await bench.checkWhole("seed \(seed)")
    let versions = model.values.flatMap(\.versions).compactMap(\.version)
    #expect(try await bench.inventory() == Set(versions))
    #expect(done.count > 12, "every operation was both done and refused: \(done.keys.sorted())")
  }

  private func expectation(_ operation: Int, _ key: Key?, _ bench: VaultBench) -> KeyCustodyError? {
    guard operation < 8 else { return nil }
    switch (operation, key) {
    case (0, nil): return nil
    case (0, .some(let key)):
      return error(.invalidInput, key.purgeable == nil ? .alreadyExists : .deletedButRecoverable)
    case (_, nil): return error(.notFound, .keyUnknown)
    case (1, .some(let key)): return key.purgeable == nil ? nil : error(.disabled, .keyDeleted)
    case (2, .some(let key)): return key.purgeable == nil ? error(.notFound, .keyUnknown) : nil
    case (3, .some(let key)):
      guard let moment = key.purgeable else { return error(.notFound, .keyUnknown) }
      let isFree = bench.clock.now() >= moment
      return isFree ? nil : error(.denied, .purgeProtected)
    case (_, .some(let key)) where key.purgeable != nil: return error(.disabled, .keyDeleted)
    case (5, .some(let key)):
      return key.versions.last.map { key.disabled.contains($0) } == true ? error(.disabled, .keyDisabled) : nil
    default: return nil
    }
  }

  private func run(
    _ operation: Int, _ name: String, _ model: inout [String: Key], _ bench: VaultBench, _ dice: Dice
  ) async throws {
    let uri = try bench.uri(name)
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    switch operation {
    case 0: model[name] = Key(versions: [try await bench.create(name)])
    case 1:
      let deletion = try await vaults.deleteKey(uri, as: owner, context: context)
      model[name]?.purgeable = deletion.deletion.scheduledPurge
      let definition = try await vaults.definition(bench.vault)
      if definition?.purgeProtection == false { model[name]?.purgeable = bench.clock.now() }
    case 2:
      try await vaults.recoverKey(uri, as: owner, context: context)
      model[name]?.purgeable = nil
    case 3:
      try await vaults.purgeKey(uri, as: owner, context: context)
      model[name] = nil
    case 4:
      let made = try await vaults.rotateKey(uri, as: owner, context: context).uri
      model[name]?.versions.append(made)
    case 5:
      let wrapped = try await bench.wrap(uri)
      model[name]?.wrapped.append(wrapped)
    case 6, 7:
      let versions = model[name]?.versions ?? []
      let chosen = versions.isEmpty ? uri : versions[dice.roll(versions.count)]
      let address = versions.isEmpty || chosen == versions.last ? uri : chosen
      try await vaults.updateKey(address, isEnabled: operation == 7, as: owner, context: context)
      if operation == 7 { model[name]?.disabled.remove(chosen) } else { model[name]?.disabled.insert(chosen) }
    default: bench.clock.advance(by: VaultBench.day * dice.roll(3))
    }
  }

  /// Everything ever wrapped under the key unwraps, unless the model says why not.
  private func check(_ key: Key?, _ name: String, _ bench: VaultBench, _ when: Comment) async throws {
    guard let key else {
      let gone = await failure {
        _ = try await bench.vaults.key(bench.uri(name), as: bench.owner, context: bench.context)
      }
      #expect(gone == error(.notFound, .keyUnknown), when)
      return
    }
    for wrapped in key.wrapped.suffix(3) {
      let outcome = await failure {
        let isRight = try await bench.unwrap(wrapped)
        #expect(isRight, when)
      }
      if key.purgeable != nil {
        #expect(outcome == error(.disabled, .keyDeleted), when)
      } else {
        #expect(outcome == (key.disabled.contains(wrapped.key) ? error(.disabled, .keyDisabled) : nil), when)
      }
    }
  }
}
