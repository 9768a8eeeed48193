import KeyCustody
import KeyCustodyTestSupport
import NIOHTTP1
import NIOSSL

/// A client that changes keys and secrets of its own until the server goes away, and notes what it was answered.
struct VaultClient: Sendable {
  let number: Int
  var things: [VaultThing] = []
  /// Those that were touched since they were last looked at.
  var touched: Set<Int> = []
  var counts = VaultCounts()
  var dice: Dice
  /// A key that all clients give versions at the same time.
  var shared = ""
  /// The versions that this client gave it.
  var sharedVersions: Set<String> = []
  /// Whether it was giving it one more.
  var isSharedBegun = false
  private var marks = 0

  init(_ number: Int, seed: UInt64) {
    self.number = number
    dice = Dice(seed: seed &+ UInt64(number) &* 0x9e37_79b9_7f4a_7c15)
  }

  /// How long the server knows names of requests: one that is asked again in the same ten minutes.
  static var period: Int64 { SystemTime().now().seconds / 600 }

  /// This client after it did something over a connection of its own.
  func connected(
    _ port: Int, _ trust: NIOSSLContext, _ token: String,
    _ body: (inout VaultClient, inout VaultConnection) async throws -> Void
  ) async throws -> VaultClient {
    try await VaultConnection.open(port, trust) { connection in
      var client = self
      connection.token = token
      try await body(&client, &connection)
      return client
    }
  }

  /// Makes changes until there is no answer.
  mutating func work(_ connection: inout VaultConnection) async {
    do throws(VaultConnection.NoAnswer) {
      while true { try await step(&connection) }
    } catch {}
  }

  private mutating func step(_ connection: inout VaultConnection) async throws(VaultConnection.NoAnswer) {
    if dice.happens(6) { return try await rotateShared(&connection) }
    let open = things.indices.suffix(8).filter { things[$0].versions.count < 12 }
    guard let index = open.randomElement(using: &dice), open.count > 3, !dice.happens(8) else {
      let kind: VaultThing.Kind =
        dice.happens(40) ? .secret : dice.happens(55) ? .symmetric : dice.happens(8) ? .rsa : .signing
      things.append(VaultThing(kind, "thing-\(number)-\(things.count)"))
      return try await change(things.count - 1, fresh(kind), &connection)
    }
    let thing = things[index]
    guard !thing.versions.isEmpty else { return try await change(index, fresh(thing.kind), &connection) }
    if thing.isDeleted { return try await change(index, .recover, &connection) }
    switch Int.random(in: 0..<100, using: &dice) {
    case ..<12: try await change(index, .delete, &connection)
    case ..<40:
      guard let version = thing.versions.keys.sorted().randomElement(using: &dice) else { return }
      marks += 1
      try await change(index, .update(version: version, mark: marks), &connection)
    case ..<55: try await change(index, fresh(thing.kind), &connection)
    case ..<70: try await change(index, thing.kind.isKey ? .rotate : fresh(thing.kind), &connection)
    default:
      guard thing.kind.wrapAlgorithm != nil, thing.wrapped.count < 8,
        let version = thing.versions.keys.sorted().randomElement(using: &dice)
      else { return try await change(index, fresh(thing.kind), &connection) }
      _ = try await wrap(index, version, &connection)
    }
  }

  /// A version made with marks of its own.
  private mutating func fresh(_ kind: VaultThing.Kind) -> VaultThing.Change {
    marks += 1
    return .make(mark: marks, value: kind == .secret ? "mark-\(marks)-\(dice.bytes(24).hexadecimal)" : nil)
  }

  private mutating func change(
    _ index: Int, _ change: VaultThing.Change, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) {
    let begun = VaultThing.Begun(change: change, name: dice.requestName(), period: Self.period)
    let request = things[index].request(change)
    things[index].begun = begun
    touched.insert(index)
    let answer = try await connection.ask(request.method, request.path, request.body, name: begun.name)
    things[index].begun = nil
    guard judge(answer, things[index].name, "\(request.method) \(request.path)") else { return }
    counts.acknowledged += 1
    things[index].apply(change, version: answer.json.version)
  }

  /// Wraps something with a version, and keeps it.
  mutating func wrap(
    _ index: Int, _ version: String, _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) -> Bool {
    let thing = things[index]
    let plain = dice.bytes(32)
    touched.insert(index)
    let answer = try await connection.ask(
      .POST, "\(thing.path)/\(version)/wrapkey",
      ["alg": .string(thing.kind.wrapAlgorithm ?? ""), "value": .string(plain.base64URL)])
    guard judge(answer, thing.name, "wrapping with \(thing.name)"), let wrapped = answer.json["value"]?.string else {
      return false
    }
    things[index].wrapped.append(.init(version: version, plain: plain, wrapped: wrapped))
    return true
  }

  private mutating func rotateShared(
    _ connection: inout VaultConnection
  ) async throws(VaultConnection.NoAnswer) {
    isSharedBegun = true
    let answer = try await connection.ask(.POST, "/keys/\(shared)/rotate")
    isSharedBegun = false
    guard judge(answer, shared, "rotating the shared key"), let version = answer.json.version else { return }
    counts.acknowledged += 1
    sharedVersions.insert(version)
  }

  /// Notes an answer: one that is good must be in the audit log, any other should not have been.
  mutating func judge(_ answer: VaultConnection.Answer, _ thing: String, _ what: String) -> Bool {
    if answer.isGood {
      counts.answered.append((answer.request, thing))
    } else {
      counts.wrong.append("\(what) was answered \(answer.error)")
    }
    return answer.isGood
  }
}
