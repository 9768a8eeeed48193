import KeyCustody
import Synchronization

/// A backend made for one behaviour, empty at first, and how to open it.
public struct ConformanceBackend<Backend: Sendable>: Sendable {
  /// Whether what is in it is still there after closing, so that opening it again makes sense.
  public let persists: Bool
  /// Opens it: for the first time, and again after it was closed.
  public let open: @Sendable () async throws -> Backend
  /// Makes faults beneath it; without one the fault behaviours are not applicable.
  public let faults: (any FaultInjector)?

  /// A backend whose content outlives closing: a folder, a token, a database.
  ///
  /// `open` is called again after closing.
  public static func persistent(
    faults: (any FaultInjector)? = nil, _ open: @escaping @Sendable () async throws -> Backend
  ) -> Self { Self(persists: true, open: open, faults: faults) }

  /// A backend whose content ends with it.
  ///
  /// `open` is called once.
  public static func volatile(
    faults: (any FaultInjector)? = nil, _ open: @escaping @Sendable () async throws -> Backend
  ) -> Self { Self(persists: false, open: open, faults: faults) }
}

/// One backend in the hands of a behaviour: its environment, how to open it again, and what is open.
final class Bench<Backend: Sendable>: Sendable {
  let clock = ManualClock()
  private let backend: ConformanceBackend<Backend>
  private let opened = Mutex<[Backend]>([])
  private let close: @Sendable (Backend) async -> Void

  /// Makes a backend, whose time is this bench's clock unless another one is given.
  init(
    _ make: @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<Backend>,
    time: (any TimeSource)? = nil, close: @escaping @Sendable (Backend) async -> Void
  ) async throws {
    self.close = close
    do {
      backend = try await make(RuntimeEnvironment(time: time ?? clock))
    } catch {
      throw ConformanceSetupFailure("The subject made no backend: \(error)")
    }
  }

  /// Whether opening again makes sense.
  var persists: Bool { backend.persists }

  /// Opens the backend for the first time.
  func open() async throws -> Backend {
    do {
      return keep(try await backend.open())
    } catch {
      throw ConformanceSetupFailure("The backend did not open: \(error)")
    }
  }

  /// Ends the behaviour where closing loses everything.
  func requirePersistence() throws {
    guard backend.persists else { throw NotApplicable("this backend does not outlive closing") }
  }

  /// Whether nothing is open.
  var isIdle: Bool { opened.withLock { $0.isEmpty } }

  /// Closes what is open and opens the backend again.
  func reopen() async throws -> Backend {
    try requirePersistence()
    await finish()
    do {
      return keep(try await backend.open())
    } catch {
      throw ConformanceViolation("The backend did not open again after it was closed: \(error)")
    }
  }

  /// What makes faults of a kind beneath the backend; ends the behaviour where nothing does.
  func faults(of kind: FaultKind?) throws -> any FaultInjector {
    guard let faults = backend.faults else { throw NotApplicable("the subject has no fault injector") }
    guard kind.map(faults.kinds.contains) ?? true else {
      throw NotApplicable("the injector can't make \(kind?.phrase ?? "")")
    }
    return faults
  }

  /// Forgets what is open without closing it, as a process does that is killed.
  func drop() { opened.withLock { $0 = [] } }

  /// Opens the backend, which may be refused with a KeyCustodyError.
  func reopenUnderFaults() async throws -> Backend { keep(try await backend.open()) }

  /// Closes what is open.
  func finish() async {
    let all = opened.withLock { opened in
      defer { opened = [] }
      return opened
    }
    for backend in all { await close(backend) }
  }

  private func keep(_ backend: Backend) -> Backend {
    opened.withLock { $0.append(backend) }
    return backend
  }
}
