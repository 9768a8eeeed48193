import KeyCustody
import KeyCustodyTestSupport
import NIOHTTP1
import NIOSSL
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// `keycustody serve` killed under load (kill -9) again and again, each time started again on its folder and looked at.
final class VaultRun {
  private static let mostClients = 6
  private let vault: ServedVault
  private let files: VaultFiles
  private let rounds: Int
  private let seed: UInt64
  private var dice: Dice
  private var clients: [VaultClient]
  private var counts = VaultCounts()
  /// The shared key of each round, with the versions that were answered, and how many more may be there.
  private var shared: [(name: String, versions: Set<String>, begun: Int)] = []
  private var killedWhileStarting = 0
  private var longestStart = Duration.zero
  private var token = ""

  init(_ vault: ServedVault, rounds: Int, seed: UInt64) throws {
    (self.vault, self.rounds, self.seed) = (vault, rounds, seed)
    files = VaultFiles(vault)
    dice = Dice(seed: seed)
    clients = (0..<Self.mostClients).map { VaultClient($0, seed: seed &+ 1) }
  }

  /// Runs it and prints the figures.
  ///
  /// - Returns: whether everything was as it was answered.
  func run() async throws -> Bool {
    say("keycustody serve with the \(vault.store.rawValue) policy store, killed \(rounds) times; --seed \(seed)")
    let begin = ContinuousClock.now
    for round in 1...rounds {
      let (process, took) = try await start(isFirst: round == 1)
      do {
        try await lookAtAll(onlyTouched: true)
        let pause = try await load(process, round)
        let audit = try await files.verify()
        if !audit.isSound { counts.wrong.append("after kill \(round) the audit log is not sound: \(audit.said)") }
        let changes = clients.reduce(counts.acknowledged) { $0 + $1.counts.acknowledged }
        say("\(round): killed after \(pause.milliseconds); started in \(took.milliseconds); \(changes) changes so far")
      } catch {
        await vault.kill(process)
        throw error
      }
    }
    let (process, _) = try await start(isFirst: false)
    do {
      try await lookAtAll(onlyTouched: false)
      try await lookAtLists()
    } catch {
      await vault.kill(process)
      throw error
    }
    for client in clients { counts += client.counts }
    if !(await vault.stop(process)) { counts.wrong.append("it did not end well when it was asked to") }
    return report(try await files.check(counts), ContinuousClock.now - begin)
  }

  /// Starts the server; sometimes one that is killed while it starts comes first.
  private func start(isFirst: Bool) async throws -> (ServerProcess, Duration) {
    if !isFirst, dice.happens(10) {
      let process = try vault.spawn()
      let most = max(2, Int(longestStart / .milliseconds(1)))
      // The moment of the kill is what varies; there is nothing to wait for.
      try await Task.sleep(for: .milliseconds(Int.random(in: 1..<most, using: &dice)))
      await vault.kill(process)
      killedWhileStarting += 1
    }
    let (process, took) = try await vault.start()
    if !isFirst { longestStart = max(longestStart, took) }
    return (process, took)
  }

  // MARK: Under load

  /// Lets clients make changes, and kills the server at some moment amid them.
  private func load(_ process: ServerProcess, _ round: Int) async throws -> Duration {
    let (trust, port) = (try VaultConnection.trust(vault.caFile), vault.port)
    let token = token
    let name = "shared-\(round)"
    let first = try await VaultConnection.open(port, trust) { connection in
      connection.token = token
      return try await connection.ask(.POST, "/keys/\(name)/create", ["kty": "oct"])
    }
    guard first.isGood, let version = first.json.version else { throw Stop("No shared key: \(first.error)") }
    counts.answered.append((first.request, name))
    counts.acknowledged += 1
    let pause = Duration.milliseconds(Int.random(in: 100...500, using: &dice))
    let strike = Strike()
    let (vault, working) = (vault, clients)
    clients = try await withThrowingTaskGroup(of: VaultClient?.self, returning: [VaultClient].self) { group in
      for client in working {
        group.addTask {
          do {
            return try await client.connected(port, trust, token) { client, connection in
              (client.shared, client.sharedVersions) = (name, [])
              await client.work(&connection)
              if !strike.isOver { client.counts.wrong.append("there was no answer before it was killed") }
            }
          } catch {
            // Killed before it was connected.
            guard error is VaultConnection.NoAnswer, strike.isOver else { throw error }
            return client
          }
        }
      }
      group.addTask {
        // The time under load, drawn by the seed.
        try await Task.sleep(for: pause)
        strike.come()
        await vault.kill(process)
        return nil
      }
      var found: [VaultClient] = []
      for try await client in group { if let client { found.append(client) } }
      return found.sorted { $0.number < $1.number }
    }
    let made = clients.reduce(into: Set([version])) { $0.formUnion($1.sharedVersions) }
    shared.append((name, made, clients.count(where: \.isSharedBegun)))
    return pause
  }

  // MARK: After a restart

  private func lookAtAll(onlyTouched: Bool) async throws {
    let (trust, port) = (try VaultConnection.trust(vault.caFile), vault.port)
    let (credentials, before) = (try vault.credentials(), token)
    token = try await VaultConnection.open(port, trust) { connection in
      try await connection.logIn(credentials)
      return connection.token
    }
    let (token, working) = (token, clients)
    clients = try await withThrowingTaskGroup(of: VaultClient.self, returning: [VaultClient].self) { group in
      for client in working {
        // What was given before the restart holds after it.
        let token = before.isEmpty || client.number > 0 ? token : before
        group.addTask {
          try await client.connected(port, trust, token) { client, connection in
            (client.isSharedBegun, client.sharedVersions) = (false, [])
            let indices = onlyTouched ? client.touched.sorted() : Array(client.things.indices)
            for index in indices { try await client.look(at: index, &connection) }
            client.touched = []
          }
        }
      }
      var found: [VaultClient] = []
      for try await client in group { found.append(client) }
      return found.sorted { $0.number < $1.number }
    }
    for index in onlyTouched ? Array(shared.indices.suffix(1)) : Array(shared.indices) {
      try await lookAtShared(index, trust)
    }
  }

  private func lookAtShared(_ index: Int, _ trust: NIOSSLContext) async throws {
    let name = shared[index].name
    let client = try await clients[0].connected(vault.port, trust, token) { client, connection in
      client.sharedVersions = Set(
        try await client.items("/keys/\(name)/versions", name, &connection).compactMap(\.version))
    }
    clients[0].counts = client.counts
    let (known, found) = (shared[index].versions, client.sharedVersions)
    let more = found.subtracting(known).count
    counts.lost += known.subtracting(found).count
    counts.doubled += max(0, more - shared[index].begun)
    counts.unknownAndMade += min(more, shared[index].begun)
    counts.unknownNotMade += max(0, shared[index].begun - more)
    (shared[index].versions, shared[index].begun) = (found, 0)
  }

  /// The lists of the vault name what is there, and nothing else.
  private func lookAtLists() async throws {
    let things = clients.flatMap(\.things).filter { !$0.versions.isEmpty }
    var wanted: [String: Set<String>] = ["/keys": Set(shared.map(\.name))]
    for thing in things {
      let list = (thing.isDeleted ? thing.deletedPath : thing.path).split(separator: "/")[0]
      wanted["/\(list)", default: []].insert(thing.name)
    }
    for (list, names) in wanted {
      let client = try await clients[0].connected(vault.port, VaultConnection.trust(vault.caFile), token) {
        client, connection in
        let found = try await client.items(list, String(list.dropFirst()), &connection).compactMap(\.name)
        let (missing, more) = (names.subtracting(found), Set(found).subtracting(names))
        client.counts.lost += missing.count
        client.counts.doubled += more.count + found.count - Set(found).count
        if missing.count + more.count > 0 {
          client.counts.wrong.append("\(list) lacks \(missing.sorted()) and has \(more.sorted()) too much")
        }
      }
      clients[0].counts = client.counts
    }
  }

  // MARK: Figures

  private func report(_ files: VaultFiles.Report, _ took: Duration) -> Bool {
    say(
      """
      keycustody serve with the \(vault.store.rawValue) policy store, killed \(rounds) times under the load of \
      \(Self.mostClients) clients and \(killedWhileStarting) times while it started, in \(took.components.seconds) s:
      \(counts.acknowledged) changes acknowledged, \(counts.lost) of them lost, \(counts.doubled) doubled, \
      \(counts.torn) torn
      \(counts.unknownAndMade + counts.unknownNotMade) of unknown outcome (\(counts.unknownAndMade) made, \
      \(counts.unknownNotMade) not), \(counts.repeated) of them asked for once more
      \(counts.looks) looks at keys and secrets, \(counts.unwrapped) times unwrapped what was wrapped before
      \(counts.answered.count) answers, \(files.missing) of them missing in the audit log, \(files.doubled) there \
      twice; \(files.verified)
      \(files.keys) key versions in the provider, \(files.orphans) of them in no record; \(files.leftovers) leftovers
      longest restart \(longestStart.milliseconds)
      \(counts.wrong.count + files.wrong.count) answers that should not be
      """)
    for line in (files.wrong + counts.wrong).prefix(20) { say("  \(line)") }
    return counts.lost + counts.doubled + counts.torn + counts.wrong.count == 0
      && files.missing + files.doubled + files.orphans + files.wrong.count == 0
  }
}

extension Duration {
  fileprivate var milliseconds: String { "\(Int(self / .milliseconds(1))) ms" }
}

/// Whether the server was killed already.
private final class Strike: Sendable {
  private let state = Mutex(false)
  var isOver: Bool { state.withLock { $0 } }
  func come() { state.withLock { $0 = true } }
}

/// Writes a line at once.
func say(_ line: String) {
  let bytes = Array("\(line)\n".utf8)
  _ = unsafe write(1, bytes, bytes.count)
}
