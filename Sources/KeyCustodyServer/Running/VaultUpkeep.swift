import KeyCustody
public import KeyCustodyServices
import KeyCustodyVault
import Logging
public import ServiceLifecycle

/// What a deployment that is served wants done from time to time: rotations that are due, and the purging of what was
/// deleted long enough ago.
///
/// `keycustody serve` runs one; an application that mounts the vaults adds one to its services.
public struct VaultUpkeep: Service {
  private let custody: KeyCustody

  /// For a deployment that stays open for as long as this runs.
  public init(_ custody: KeyCustody) { self.custody = custody }

  /// Looks once a minute, until the task is cancelled or its service group shuts down gracefully; what fails is logged,
  /// and tried again the next time.
  public func run() async throws {
    let time = custody.environment.time
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        do { _ = try await custody.vaults.runRotations() } catch { warn("rotations were cut short", "\(error)") }
        do {
          let round = try await custody.vaults.purgeExpired()
          if !round.failed.isEmpty { warn("not all could be purged", round.failed.joined(separator: ", ")) }
        } catch { warn("purging was cut short", "\(error)") }
        do { try await time.wait(until: time.running() + .seconds(60)) } catch { return }
      }
    }
  }

  private func warn(_ what: String, _ why: String) {
    custody.environment.logger.warning("\(what)", metadata: ["error": "\(why)"])
  }
}
