import KeyCustody

extension SealedTableConformance {
  /// Operations drawn by a seed, beside a model.
  static let random: [TableBehavior] = (1...3).map { seed in
    .init("120 operations drawn by seed \(seed) leave what a model of the table holds") { trial in
      try await run(SeededRandom(seed: UInt64(seed)), trial)
    }
  }

  private struct Entry {
    var label: [UInt8]
    var content: [UInt8]
    var key: UInt8
  }

  private static func run(_ dice: SeededRandom, _ trial: TableTrial) async throws {
    func draw(_ count: Int) -> Int { Int(dice.next() % UInt64(count)) }
    func bytes(_ count: Int) throws -> [UInt8] { count == 0 ? [] : try dice.bytes(count) }
    var trial = trial
    var model: [String: Entry] = [:]
    for step in 0..<120 {
      let name = "n\(draw(12))"
      switch draw(10) {
      case 0..<4:
        let entry = Entry(
          label: try bytes(draw(30)), content: try bytes(1 + draw(300)), key: UInt8(draw(3)))
        try await trial.put(name, entry.content, label: entry.label, under: entry.key)
        model[name] = entry
      case 4, 5:
        let found = try await trial.read(name)
        let isCurrent = draw(3) > 0
        let content = try bytes(1 + draw(300))
        let key = UInt8(draw(3))
        let isDone = try await trial.replace(
          name, at: (found?.revision ?? 5) &+ (isCurrent ? 0 : 1), content, under: key)
        try expect(isDone == (isCurrent && model[name] != nil), "Step \(step): replacing '\(name)' said \(isDone).")
        if isDone {
          model[name]?.content = content
          model[name]?.key = key
        }
      case 6:
        try await trial.remove(name)
        model[name] = nil
      case 7 where step % 4 == 0 && trial.bench.persists:
        trial = try await trial.reopened()
      default:
        try await check(model, name, step, excluding: draw(2) == 0 ? nil : UInt8(draw(3)), limit: 1 + draw(9), trial)
      }
    }
    for name in model.keys { try await check(model, name, 120, excluding: nil, limit: 1000, trial) }
  }

  private static func check(
    _ model: [String: Entry], _ name: String, _ step: Int, excluding key: UInt8?, limit: Int, _ trial: TableTrial
  ) async throws {
    let found = try await trial.read(name)
    let due = model[name]
    try expect(
      found?.label == due?.label && found?.sealed == due.map { TableTrial.sealed($0.content, under: $0.key) },
      "Step \(step): '\(name)' is not what was written.")
    let rows = try await trial.all(excluding: key, limit: limit)
    let names = model.filter { $0.value.key != key }.keys.sorted(by: isBefore)
    try expect(rows.map(\.name) == names, "Step \(step): \(rows.map(\.name)) are listed; \(names) are due.")
    for row in rows {
      let entry = try unwrapped(model[row.name], "'\(row.name)' is listed and not there.")
      try expect(
        row.label == entry.label && row.size == entry.content.count + 12
          && row.rootKey == TableTrial.rootKey(entry.key),
        "Step \(step): '\(row.name)' is listed otherwise than it was written.")
    }
  }
}
