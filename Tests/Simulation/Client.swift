import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices
import KeyCustodyVault
import Synchronization

/// Does one thing after the other, as chance has it, and keeps the books.
struct Client {
  private let scenario: Scenario
  private var world: World { scenario.world }

  init(_ scenario: Scenario) { self.scenario = scenario }

  func run(_ steps: Int) async {
    for _ in 0..<steps {
      let pause = Duration.milliseconds(world.pick(4) == 0 ? world.pick(90_000) : world.pick(2000))
      do { try await world.clock.wait(until: world.clock.running() + pause) } catch { return }
      // Now and then two at once, which are more likely to be in each other's way.
      let isDouble = world.pick(4) == 0
      async let other: Void = isDouble ? step(anyProcess()) : ()
      await step(anyProcess())
      await other
    }
  }

  private func anyProcess() -> SimulatedProcess { scenario.processes[world.pick(scenario.processes.count)] }

  private func step(_ process: SimulatedProcess) async {
    guard !process.link.isDead else { return }
    let number = scenario.processes.firstIndex { $0 === process } ?? 0
    let kind = world.pick(40)
    scenario.tell("process \(number) begins \(kind)")
    defer { scenario.tell("process \(number) ended \(kind)") }
    do throws(KeyCustodyError) {
      switch kind {
      case 0..<12: try await put(process)
      case 12..<20: try await read(process)
      case 20: try await remove(process)
      case 21..<24: try await revoke(process)
      case 24..<28: try await allow(process)
      case 28, 29: try await changeOtherRule(process)
      case 30, 31: try await handle(process).enableCustomerKey(newestKey(process))
      case 32: try await disable(process)
      case 33..<36: try await rotate(process)
      case 36: try await process.custody.rotateServiceKeys()
      case 37: cut(process)
      case 38:
        process.kill()
        await process.restart()
      case 39 where world.pick(2) == 0: world.clock.jump(by: .seconds(world.pick(7200) - 3600))
      default: try await retire(process)
      }
    } catch {
      scenario.tell("process \(number) was refused: \(error)")
      scenario.did("refused: \(error.reason.rawValue)")
    }
  }

  /// Cuts a process off from everything, or from one thing, for a while.
  private func cut(_ process: SimulatedProcess) {
    let all = Link.Part.allCases
    let part = world.pick(all.count + 1)
    process.link.cut(part < all.count ? [all[part]] : all, for: .milliseconds(world.pick(150_000)))
  }

  private func handle(_ process: SimulatedProcess) async throws(KeyCustodyError) -> ProtectedResource {
    try await process.handle()
  }

  private func newestKey(_ process: SimulatedProcess) throws(KeyCustodyError) -> KeyURI {
    process.custody.vaults.uri(scenario.vault, try KeyName("notes"))
  }

  private func put(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let content = try world.random.bytes(16)
    let name = scenario.model.withLock { model in
      model.nextItem += 1
      return "item-\(1000 + model.nextItem)"
    }
    let store = SimulatedSealedStore(link: process.link)
    try await handle(process).seal(content, as: name) { (sealed) async throws(KeyCustodyError) in
      try await store.put(sealed, as: name)
    }
    scenario.model.withLock { $0.content[name] = content }
    scenario.did("put")
  }

  private func read(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let names = scenario.model.withLock { $0.content.keys.sorted() }
    guard !names.isEmpty else { return }
    let name = names[world.pick(names.count)]
    let (content, changes, silence) = scenario.model.withLock {
      ($0.content[name], $0.accessChanges, $0.silenceFrom)
    }
    let begun = world.clock.running()
    guard let sealed = try await SimulatedSealedStore(link: process.link).get(name) else { return }
    let opened = try await handle(process).open(sealed, as: name)
    if let content, opened != content { scenario.violated("\(name) was read with other content") }
    if let silence, begun > silence, scenario.model.withLock({ $0.accessChanges }) == changes {
      scenario.violated("\(name) was read \(begun - silence) after access was gone everywhere")
    }
    scenario.tell("read \(name)")
    scenario.did("read")
  }

  private func remove(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let names = scenario.model.withLock { $0.content.keys.sorted() }
    guard !names.isEmpty else { return }
    let name = names[world.pick(names.count)]
    scenario.model.withLock { $0.content[name] = nil }
    try await SimulatedSealedStore(link: process.link).remove(name)
    scenario.did("removed")
  }

  /// Withdraws access, where that stops the resource.
  private func revoke(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let notes = try await handle(process)
    let changes = scenario.model.withLock { model in
      model.accessChanges += 1
      return model.accessChanges
    }
    try await process.custody.vaults.removeRule("allow-notes", in: scenario.vault)
    // Only while it stays under the customer's key: what was on its way before is not held back by that.
    let promised = process.custody.effectiveEverywhere()
    let mode = try await notes.status().mode
    guard mode == .customerManaged || mode == .updating else { return }
    scenario.model.withLock { model in
      model.accessChanges += 1
      guard model.grantsInFlight == 0, model.accessChanges == changes + 1 else { return }
      model.silenceFrom =
        world.clock.running() + .milliseconds(promised.milliseconds - world.clock.now().milliseconds)
    }
    scenario.tell("revoked; silence from \(String(describing: scenario.model.withLock { $0.silenceFrom }))")
    scenario.did("revoked")
    for pause in [world.pick(10_000), 61_000, world.pick(60_000)] {
      do { try await world.clock.wait(until: world.clock.running() + .milliseconds(pause)) } catch { return }
      for process in scenario.processes where !process.link.isDead { try? await read(process) }
    }
  }

  /// A change of the vault's rules that has nothing to do with the resource.
  private func changeOtherRule(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let other = AccessRule(name: "other", principal: try PrincipalID("contoso/other"), keys: [.get])
    if world.pick(2) == 0 {
      try await process.custody.vaults.setRule(other, in: scenario.vault)
    } else {
      try await process.custody.vaults.removeRule(other.name, in: scenario.vault)
    }
    scenario.did("other rule")
  }

  private func allow(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    try await givingAccess { () async throws(KeyCustodyError) in try await scenario.grant(process.custody) }
    scenario.did("granted")
  }

  private func disable(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    try await givingAccess { () async throws(KeyCustodyError) in try await handle(process).disableCustomerKey() }
    scenario.did("disabled")
  }

  /// Does what may let the data be read again, whatever is answered.
  private func givingAccess(_ body: () async throws(KeyCustodyError) -> Void) async throws(KeyCustodyError) {
    let note = { (inFlight: Int) in
      scenario.model.withLock { model in
        model.grantsInFlight += inFlight
        model.accessChanges += 1
        model.silenceFrom = nil
      }
    }
    note(1)
    defer { note(-1) }
    try await body()
  }

  private func rotate(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    try await process.custody.vaults.rotateKey(
      try newestKey(process), as: scenario.owner, context: CallContext(purpose: .administration))
    try await handle(process).updateCustomerKey(try newestKey(process))
    scenario.did("updated")
  }

  /// Disables an older version of the customer's key, once nothing needs it.
  private func retire(_ process: SimulatedProcess) async throws(KeyCustodyError) {
    let context = CallContext(purpose: .administration)
    let key = try await process.custody.vaults.key(try newestKey(process), as: scenario.owner, context: context)
    for version in key.versions.dropLast() where version.isEnabled {
      let uri = try newestKey(process).with(version: version.version)
      guard try await process.custody.vaults.impact(of: uri).isEmpty else { continue }
      try await process.custody.vaults.updateKey(uri, isEnabled: false, as: scenario.owner, context: context)
      scenario.did("retired")
    }
  }
}
