import KeyCustody
import KeyCustodyCrypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Remembers changes by the names that callers gave them, so that one asked for again is not made twice.
struct RequestLedger: Sendable {
  /// How long a change is remembered, unless its caller says otherwise.
  static let memory = Duration.seconds(86_400)

  /// A change as it is stored.
  struct Request: Codable, Sendable, Hashable {
    var action: String
    var target: String
    /// The version it makes, if it makes one.
    var version: KeyVersionID
    var expires: Timestamp
    /// The answer as JSON, once there is one.
    var answer: String?
  }
  /// A request that is being worked on.
  struct Ticket: Sendable {
    let path: RecordKey
    let request: Request

    /// The answer given the first time; `nil` when there is none yet.
    func answer<Answer: Codable>() throws(KeyCustodyError) -> Answer? {
      guard let text = request.answer else { return nil }
      do { return try JSONDecoder().decode(Answer.self, from: Data(text.utf8)) } catch {
        throw KeyCustodyError(
          .integrityFailure, .damaged, "The record '\(path)' of the policy store is not what it should be.",
          remedy: "Restore the policy store from a backup.", diagnostic: "\(error)")
      }
    }
  }

  private let view: RecordView<Request>
  private let environment: RuntimeEnvironment

  init(store: any PolicyStore, environment: RuntimeEnvironment) {
    view = RecordView(store)
    self.environment = environment
  }

  /// Enters a request, or finds it again.
  ///
  /// - Throws: `invalidInput` (`request-reused`) when the name stands for another change.
  func take(
    _ name: String, _ permission: Permission, of authority: Authority, on target: some VaultAddress,
    within memory: Duration?
  ) async throws(KeyCustodyError) -> Ticket {
    guard (1...128).contains(name.utf8.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The name of a request has 1 to 128 bytes.", remedy: "Use a UUID, for instance.")
    }
    let digest = try Hashing.sha256([UInt8](utf8: "\(authority.name)\n\(name)"))
    let path = try RecordKey("\(Self.prefix(try target.vault))\(digest.hexadecimal)")
    let fresh = Request(
      action: permission.description, target: target.description.lowercased(),
      version: try KeyVersionID(random: environment.random), expires: environment.time.now() + (memory ?? Self.memory))
    if try await view.create(path, fresh) { return Ticket(path: path, request: fresh) }
    let now = environment.time.now()
    let found = try await view.update(path) { request in
      if request.expires <= now { request = fresh }
    }
    guard let found else {
      throw KeyCustodyError(
        .busy, .conflict, "The request '\(name)' was just forgotten.", remedy: "Try again.",
        retryAfter: .milliseconds(50))
    }
    guard found.action == fresh.action, found.target == fresh.target else {
      throw KeyCustodyError(
        .invalidInput, .requestReused, "The request '\(name)' was '\(found.action)' on '\(found.target)'.",
        remedy: "Give every change a name of its own.")
    }
    return Ticket(path: path, request: found)
  }

  /// Makes a request that was answered a new one.
  func renew(_ ticket: Ticket, within memory: Duration?) async throws(KeyCustodyError) -> Ticket {
    let fresh = Request(
      action: ticket.request.action, target: ticket.request.target,
      version: try KeyVersionID(random: environment.random), expires: environment.time.now() + (memory ?? Self.memory))
    let found = try await view.update(ticket.path) { request in
      if request.version == ticket.request.version { request = fresh }
    }
    guard let found else {
      throw KeyCustodyError(
        .busy, .conflict, "A request was just forgotten.", remedy: "Try again.", retryAfter: .milliseconds(50))
    }
    return Ticket(path: ticket.path, request: found)
  }

  /// Keeps the answer.
  func settle(_ ticket: Ticket, _ answer: some Codable) async throws(KeyCustodyError) {
    let text: String
    do { text = String(decoding: try JSONEncoder().encode(answer), as: UTF8.self) } catch {
      throw KeyCustodyError(.fault, .internalFault, "An answer can't be written as JSON.", diagnostic: "\(error)")
    }
    try await view.update(ticket.path) { request in
      if request.version == ticket.request.version, request.answer == nil { request.answer = text }
    }
  }

  /// Forgets what is older than it need be.
  func sweep(_ vault: VaultName) async throws(KeyCustodyError) {
    let now = environment.time.now()
    for (path, request) in try await view.all(prefix: Self.prefix(vault)) where request.expires <= now {
      _ = try await view.remove(path)
    }
  }

  /// Forgets all of a vault that has ended.
  func forget(_ vault: VaultName) async throws(KeyCustodyError) {
    for (path, _) in try await view.all(prefix: Self.prefix(vault)) { _ = try await view.remove(path) }
  }

  private static func prefix(_ vault: VaultName) -> String { "vaults/\(vault.folded)/requests/" }
}
