import KeyCustody
import NIOHTTP1

/// What a client finds after a restart, held against what it was answered before.
extension VaultClient {
  /// Looks at a thing, takes what was begun as made or not, and asks for it once more now and then.
  mutating func look(at index: Int, _ connection: inout VaultConnection) async throws(VaultConnection.NoAnswer) {
    counts.looks += 1
    let begun = things[index].begun
    things[index].begun = nil
    let path = things[index].path
    let living = try await read(path, things[index].name, &connection)
    let deleted = try await read(things[index].deletedPath, things[index].name, &connection)
    var isMade = false
    switch (living, deleted) {
    case (nil, nil):
      counts.lost += things[index].versions.count
    case (let living?, nil):
      isMade = place(index, isDeleted: false, begun)
      isMade = try await compare(index, begun, newest: living.version, &connection) || isMade
      try await use(index, &connection)
    case (nil, let deleted?):
      isMade = place(index, isDeleted: true, begun)
      if deleted.version != things[index].newest { counts.lost += 1 }
    case (.some, .some):
      counts.torn += 1
    }
    guard let begun else { return }
    if isMade { counts.unknownAndMade += 1 } else { counts.unknownNotMade += 1 }
    if begun.change.makesVersion, dice.happens(50) { try await askAgain(index, begun, isMade: isMade, &connection) }
  }

  /// What is at an address; `nil` when nothing is.
  private mutating func read(
    _ path: String, _ thing: String, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) -> JSON? {
    let answer = try await connection.ask(.GET, path)
    guard answer.status != 404, judge(answer, thing, "reading \(path)") else { return nil }
    return answer.json
  }

  /// Whether a thing is deleted or not is as it was answered, or as what was begun would have it.
  ///
  /// - Returns: whether what was begun was made, where that shows in this.
  private mutating func place(_ index: Int, isDeleted: Bool, _ begun: VaultThing.Begun?) -> Bool {
    let wasDeleted = things[index].isDeleted
    things[index].isDeleted = isDeleted
    switch begun?.change {
    case .delete, .recover: return isDeleted != wasDeleted
    case .make, .rotate, .update, nil:
      if isDeleted != wasDeleted {
        counts.lost += 1
        counts.wrong.append("\(things[index].name) is \(isDeleted ? "" : "not ")deleted")
      }
      return false
    }
  }

  /// The versions that are there, with their marks and values.
  private mutating func versions(
    _ path: String, _ kind: VaultThing.Kind, _ thing: String, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) -> [String: VaultThing.Version] {
    var found: [String: VaultThing.Version] = [:]
    for item in try await items("\(path)/versions", thing, &connection) {
      guard let version = item.version else { continue }
      found[version] = item.marks
      guard kind == .secret, let read = try await read("\(path)/\(version)", thing, &connection) else { continue }
      found[version]?.value = read["value"]?.string
      let (value, type) = (read["value"]?.string ?? "", read["contentType"]?.string ?? "?")
      if !value.hasPrefix("\(type)-") { counts.torn += 1 }
    }
    return found
  }

  /// All items of a list.
  mutating func items(
    _ path: String, _ thing: String, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) -> [JSON] {
    var (found, next): ([JSON], String?) = ([], path)
    while let path = next {
      guard let page = try await read(path, thing, &connection) else { return found }
      found += page["value"]?.array ?? []
      next = page["nextLink"]?.string.map { "/" + $0.split(separator: "/").dropFirst(2).joined(separator: "/") }
    }
    return found
  }

  /// Holds the versions that are there against those that were answered.
  ///
  /// - Returns: whether what was begun was made, where that shows in the versions.
  private mutating func compare(
    _ index: Int, _ begun: VaultThing.Begun?, newest: String?, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) -> Bool {
    let thing = things[index]
    let found = try await versions(thing.path, thing.kind, thing.name, &connection)
    var wanted = thing
    var isMade = false
    let more = found.keys.filter { thing.versions[$0] == nil }.sorted()
    if let begun, begun.change.makesVersion, let version = more.first {
      wanted.apply(begun.change, version: version)
      isMade = true
    }
    counts.doubled += more.count - (isMade ? 1 : 0)
    if case .update(let version, _)? = begun?.change, let begun, found[version] != thing.versions[version] {
      wanted.apply(begun.change, version: nil)
      isMade = true
    }
    for (version, expected) in wanted.versions where found[version] != expected {
      let isTouched = isMade && found[version] != nil && thing.versions[version] != expected
      if isTouched { counts.torn += 1 } else { counts.lost += 1 }
      counts.wrong.append("\(thing.name)/\(version): \(String(describing: found[version])), not \(expected)")
    }
    if newest != wanted.newest {
      counts.lost += 1
      counts.wrong.append("\(thing.name): the newest is \(newest ?? "-"), not \(wanted.newest ?? "-")")
    }
    things[index] = wanted
    return isMade
  }

  /// Uses every version of a key: what it wrapped must open, and one that wrapped nothing must do so now.
  private mutating func use(_ index: Int, _ connection: inout VaultConnection) async throws(VaultConnection.NoAnswer) {
    let thing = things[index]
    if thing.kind == .signing, let newest = thing.newest {
      let digest: JSON = ["alg": "ES256", "value": .string(dice.bytes(32).base64URL)]
      let answer = try await connection.ask(.POST, "\(thing.path)/\(newest)/sign", digest)
      if !judge(answer, thing.name, "signing with \(thing.name)/\(newest)") { counts.torn += 1 }
    }
    guard let algorithm = thing.kind.wrapAlgorithm else { return }
    for version in thing.versions.keys where !thing.wrapped.contains(where: { $0.version == version }) {
      if try await !wrap(index, version, &connection) { counts.torn += 1 }
    }
    for kept in things[index].wrapped {
      let answer = try await connection.ask(
        .POST, "\(thing.path)/\(kept.version)/unwrapkey",
        ["alg": .string(algorithm), "value": .string(kept.wrapped)])
      let isGood = judge(answer, thing.name, "unwrapping with \(thing.name)/\(kept.version)")
      if isGood, answer.json["value"]?.string == kept.plain.base64URL {
        counts.unwrapped += 1
      } else {
        counts.lost += 1
      }
    }
  }

  /// Asks once more for what was begun, by the same name: it must then be made, once.
  private mutating func askAgain(
    _ index: Int, _ begun: VaultThing.Begun, isMade: Bool, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) {
    guard Self.period == begun.period else { return }
    let thing = things[index]
    let request = thing.request(begun.change)
    let answer = try await connection.ask(request.method, request.path, request.body, name: begun.name)
    guard judge(answer, thing.name, "\(request.method) \(request.path) once more") else { return }
    counts.acknowledged += 1
    counts.repeated += 1
    // Between the two its name may have been forgotten.
    let isKnown = Self.period == begun.period
    if !isMade || !isKnown { things[index].apply(begun.change, version: answer.json.version) }
    if isMade, isKnown, answer.json.version != thing.newest { counts.doubled += 1 }
    let found = try await versions(thing.path, thing.kind, thing.name, &connection)
    let wanted = things[index].versions
    counts.lost += wanted.keys.count(where: { found[$0] == nil })
    counts.doubled += found.keys.count(where: { wanted[$0] == nil })
  }
}
