import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices
import KeyCustodyVault
import Logging
import Synchronization

/// One run: processes of one deployment, clients that use them, and everything that goes wrong.
final class Scenario: Sendable {
  /// What must hold, as the clients know it.
  struct Model {
    var content: [String: [UInt8]] = [:]
    var nextItem = 0
    /// While access is withdrawn: from when on nobody may read any more, in running time.
    var silenceFrom: Duration?
    /// What was begun that may yet let the data be read.
    var grantsInFlight = 0
    /// Grows whenever access changes.
    var accessChanges = 0
    var newestKey: KeyURI?
    var violations: [String] = []
    var done: [String: Int] = [:]
  }

  let world: World
  let processes: [SimulatedProcess]
  let model = Mutex(Model())
  let resource: ResourceID
  let vault: VaultName
  let owner: Principal
  private let identity: PrincipalID
  private static let processCount = 2
  private static let clientCount = 3
  private static let stepsOfClient = 30

  init(
    seed: UInt64, bug: PlantedBug?, isTold: Bool, began: (World) -> Void
  ) async throws(KeyCustodyError) {
    world = try World(seed: seed, bug: bug, isTold: isTold)
    began(world)
    resource = try ResourceID("notes")
    vault = try VaultName("contoso-keys")
    identity = try PrincipalID("contoso/notes")
    owner = Principal(
      id: try PrincipalID("contoso/owner"), kind: .user, method: .token,
      expires: world.clock.now() + .seconds(10 * 365 * 86_400))
    var made: [SimulatedProcess] = []
    for _ in 0..<Self.processCount { made.append(try await SimulatedProcess(world, resource)) }
    processes = made
    try await prepare()
  }

  private func prepare() async throws(KeyCustodyError) {
    let custody = processes[0].custody
    try await custody.vaults.create(
      VaultDefinition(
        name: vault, tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: true))
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner.id, keys: Set(KeyPermission.allCases)), in: vault)
    var profile = try Profile.custom()
    profile.rotation = world.pick(2) == 0 ? .rewrap : .reencrypt
    let notes = try await custody.createResource(resource, tenant: TenantID("contoso"), profile: profile)
    _ = try await notes.switchIdentityOn()
    try await grant(custody)
    let uri = custody.vaults.uri(vault, try KeyName("notes"))
    let key = try await custody.vaults.createKey(
      uri, type: .aes(bits: 256), role: .wrapping, as: owner, context: CallContext(purpose: .administration))
    model.withLock { $0.newestKey = key.uri }
    if world.pick(3) > 0 { try await notes.enableCustomerKey(key.uri, converting: []) }
  }

  func grant(_ custody: KeyCustody) async throws(KeyCustodyError) {
    try await custody.vaults.setRule(
      AccessRule(name: "allow-notes", principal: identity, keys: [.get, .wrapKey, .unwrapKey]), in: vault)
  }

  /// Lets everything happen, then heals everything and looks.
  func run() async {
    for process in processes { process.startJobs() }
    world.isRough.withLock { $0 = true }
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<Self.clientCount { group.addTask { await Client(self).run(Self.stepsOfClient) } }
    }
    world.isRough.withLock { $0 = false }
    await heal()
    await judge()
    for process in processes { await process.end() }
  }

  func violated(_ what: String) { model.withLock { $0.violations.append(what) } }
  /// What happens, for who replays a seed.
  func tell(_ what: @autoclosure () -> String) {
    if world.isTold { print("\(world.clock.running() - .seconds(1000)): \(what())") }
  }

  func did(_ what: String) { model.withLock { $0.done[what, default: 0] += 1 } }

  private func heal() async {
    for process in processes {
      process.link.heal()
      if process.link.isDead { await process.restart() }
    }
    do throws(KeyCustodyError) {
      let custody = processes[0].custody
      try await grant(custody)
      if let key = model.withLock({ $0.newestKey })?.with(version: nil) {
        let context = CallContext(purpose: .administration)
        for version in try await custody.vaults.key(key, as: owner, context: context).versions where !version.isEnabled
        {
          try await custody.vaults.updateKey(
            key.with(version: version.version), isEnabled: true, as: owner, context: context)
        }
      }
    } catch { violated("healing failed: \(error)") }
    // Long enough for an abandoned job to be taken over, and for leases elsewhere to end.
    let end = world.clock.running() + .seconds(600)
    _ = try? await world.clock.wait(until: end)
  }

  private func judge() async {
    let expected = model.withLock { $0.content }
    for (number, process) in processes.enumerated() {
      let store = SimulatedSealedStore(link: process.link)
      for (name, content) in expected.sorted(by: { $0.key < $1.key }) {
        do throws(KeyCustodyError) {
          guard let sealed = try await store.get(name) else {
            violated("the acknowledged item \(name) is gone")
            continue
          }
          let notes = try await process.custody.resource(resource)
          if try await notes.open(sealed, as: name) != content { violated("the item \(name) has other content") }
        } catch { violated("the acknowledged item \(name) can't be read by process \(number): \(error)") }
      }
    }
    do throws(KeyCustodyError) {
      let notes = try await processes[0].custody.resource(resource)
      let status = try await notes.status()
      if status.mode.isConverting || status.outgoingRootKeys > 0 {
        violated("a conversion never ended: \(status.mode), \(status.outgoingRootKeys) keys")
      }
      if let job = try await processes[0].custody.pendingJob(for: resource) { violated("a job is left: \(job)") }
    } catch { violated("the status can't be read: \(error)") }
  }
}

/// One process of the deployment: it can be killed and started again.
final class SimulatedProcess: Sendable {
  private struct State {
    var link: Link
    var custody: KeyCustody
    /// Kept as a service keeps it: a handle is good while the store is away.
    var handle: ProtectedResource?
    var jobs: Task<Void, Never>?
  }
  private let state: Mutex<State>
  private let world: World
  private let resource: ResourceID

  init(_ world: World, _ resource: ResourceID) async throws(KeyCustodyError) {
    self.world = world
    self.resource = resource
    let link = Link(world)
    state = Mutex(State(link: link, custody: try await Self.open(link)))
  }

  var link: Link { state.withLock { $0.link } }
  var custody: KeyCustody { state.withLock { $0.custody } }

  private static func open(_ link: Link) async throws(KeyCustodyError) -> KeyCustody {
    let plugin = Plugin(
      name: "simulated",
      keyProvider: { (_, _) throws(KeyCustodyError) in
        { () async throws(KeyCustodyError) in SimulatedKeyProvider(link: link) }
      },
      policyStore: { (_, _) throws(KeyCustodyError) in
        { () async throws(KeyCustodyError) in SimulatedStore(link) }
      })
    let configuration = KeyCustodyConfiguration([
      "keyProviders": ["keys": ["plugin": "simulated"]], "policyStores": ["state": ["plugin": "simulated"]],
      "service": ["keyProvider": "keys", "policyStore": "state", "region": "north", "leaseSeconds": .integer(60)],
      "vaults": ["domain": "vault.test"],
    ])
    return try await KeyCustody.open(
      configuration, plugins: [plugin], audit: Unheard(),
      environment: RuntimeEnvironment(
        time: ProcessClock(link: link), random: link.world.random,
        logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }))
  }

  func handle() async throws(KeyCustodyError) -> ProtectedResource {
    let (kept, custody) = state.withLock { ($0.handle, $0.custody) }
    if let kept { return kept }
    let handle = try await custody.resource(resource)
    state.withLock { if $0.custody === custody { $0.handle = handle } }
    return handle
  }

  func startJobs() {
    let (link, custody) = state.withLock { ($0.link, $0.custody) }
    var settings = JobRunner.Settings()
    settings.upkeepInterval = .seconds(120)
    settings.serviceKeyAge = .seconds(300)
    guard
      let runner = try? JobRunner(
        custody, settings: settings,
        stores: { (_) async throws(KeyCustodyError) in [SimulatedSealedStore(link: link)] })
    else { return }
    let jobs = Task { await runner.run() }
    state.withLock { $0.jobs = jobs }
  }

  /// As kill -9: nothing that it began gets any further.
  func kill() {
    let (link, jobs) = state.withLock { ($0.link, $0.jobs) }
    link.kill()
    jobs?.cancel()
  }

  func restart() async {
    let link = Link(world)
    while true {
      if let custody = try? await Self.open(link) {
        state.withLock { state in
          state.link = link
          state.custody = custody
          state.handle = nil
        }
        return startJobs()
      }
      do { try await world.clock.wait(until: world.clock.running() + .seconds(1)) } catch { return }
    }
  }

  func end() async {
    kill()
    await custody.close()
  }
}

/// Nobody reads these.
private struct Unheard: AuditSink {
  func record(_ event: AuditEvent) async throws(KeyCustodyError) {}
}
