#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyVault

  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif

  struct AuditShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show",
      abstract: "Print records, oldest first. Checks nothing: that is what verify is for.",
      discussion: """
        Of the files of a log; or, by --server and --vault, how a server's vault was administered, as its tenant's \
        administrators may know.
        """)
    @OptionGroup var common: CommonOptions
    @OptionGroup var place: ManagedPlace
    @Argument(help: "The log's folder, and those that finished files were moved to.") var folders: [String] = []
    @Option(help: "Of this key: its address, or VAULT/NAME[/VERSION].") var key: String?
    @Option(help: "Of this vault: what is in it, and how it was administered.") var vault: String?
    @Option(help: "Of this principal: TENANT/SUBJECT.") var principal: String?
    @Option(help: "Of this action: a permission, or one of administration like policies/set.") var action: String?
    @Option(help: "From this moment on: 2026-01-31 or 2026-01-31T12:00:00Z.") var since: String?
    @Option(help: "Ended so: intended, allowed, refused or failed.") var outcome: String?

    /// A record as it is printed for programs.
    private struct Form: Encodable {
      var record: UInt64
      var time: String
      var event: AuditEvent
    }

    func run() async throws {
      try await common.run { output in
        let since = try since.map(Self.moment)
        let outcome = try outcome.map(Self.outcome)
        func show(_ number: UInt64, _ event: AuditEvent) {
          guard key.map({ Self.matches(event.target, $0) }) ?? true,
            vault.map({ Self.lies(event.target, in: $0) }) ?? true,
            principal.map({ event.principal.lowercased() == $0.lowercased() }) ?? true,
            action.map({ event.action.lowercased() == $0.lowercased() }) ?? true,
            since.map({ $0 <= event.time }) ?? true, outcome.map({ $0 == event.outcome }) ?? true
          else { return }
          let time = Self.text(event.time)
          output.print(
            "\(number)  \(time)  \(Self.shown(event.principal))  \(Self.shown(event.action))  "
              + "\(event.outcome.rawValue)  \(Self.shown(event.target))  \(Self.shown(event.error ?? event.rule))"
              + (event.detail.map { "  \(Self.shown($0))" } ?? ""),
            Form(record: number, time: time, event: event))
        }
        guard folders.isEmpty else {
          return try AuditFiles(folders: folders).forEach { (record) throws(KeyCustodyError) in
            show(record.number, record.event)
            return true
          }
        }
        for record in try await records() { show(record.0, record.1) }
      }
    }

    // MARK: Of a server

    private func records() async throws(KeyCustodyError) -> [(UInt64, AuditEvent)] {
      guard let server = try place.server(), let vault else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "Which records is missing.",
          remedy: "Name the log's folder; or a server by --server, and one of its vaults by --vault.")
      }
      var found: [(UInt64, AuditEvent)] = []
      var path = "keycustody/v1/vaults/\(try VaultName(vault))/audit"
      while true {
        let page = try await server.askJSON(.get, path)
        found += (page["value"]?.array ?? []).compactMap(Self.record)
        guard let next = page["next"]?.string else { return found }
        path = "keycustody/v1/vaults/\(vault)/audit?after=\(next)"
      }
    }

    private static func record(_ told: JSON) -> (UInt64, AuditEvent)? {
      guard let number = told["number"]?.integer, let time = told["time"]?.integer,
        let outcome = told["outcome"]?.string.flatMap(AuditEvent.Outcome.init(rawValue:))
      else { return nil }
      func text(_ name: String) -> String { told[name]?.string ?? "" }
      return (
        UInt64(clamping: number),
        AuditEvent(
          time: Timestamp(milliseconds: time), principal: text("principal"), method: text("method"),
          action: text("action"), target: text("target"), resource: nil, rule: text("rule"), outcome: outcome,
          error: told["error"]?.string, requestID: text("request"), source: told["source"]?.string,
          detail: told["detail"]?.string)
      )
    }

    // MARK: What is wanted, and how it is shown

    /// Printable ASCII alone: a name in a record can't steer the terminal.
    private static func shown(_ text: String) -> String {
      String(text.unicodeScalars.map { (0x20...0x7e).contains($0.value) ? Character($0) : "?" })
    }

    private static func text(_ time: Timestamp) -> String {
      Date(timeIntervalSince1970: Double(time.milliseconds) / 1000)
        .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }

    private static func moment(_ text: String) throws -> Timestamp {
      let full = text.contains("T") ? text : "\(text)T00:00:00Z"
      guard let date = try? Date(full, strategy: .iso8601) else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "'\(text.prefix(40))' is not a moment.",
          remedy: "Write 2026-01-31 or 2026-01-31T12:00:00Z.")
      }
      return Timestamp(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
    }

    private static func outcome(_ text: String) throws -> AuditEvent.Outcome {
      guard let outcome = AuditEvent.Outcome(rawValue: text) else {
        throw KeyCustodyError(
          .invalidInput, .badName, "'\(text.prefix(40))' is not an outcome.",
          remedy: "Use intended, allowed, refused or failed.")
      }
      return outcome
    }

    /// Whether a record's target is the vault, or lies in it.
    private static func lies(_ target: String, in vault: String) -> Bool {
      target.lowercased().hasPrefix("https://\(vault.lowercased()).")
    }

    /// Whether a record's target is the key, or a version of it.
    private static func matches(_ target: String, _ wanted: String) -> Bool {
      let target = target.lowercased()
      var wanted = wanted.lowercased()
      guard !wanted.hasPrefix("https:") else { return target == wanted || target.hasPrefix(wanted + "/") }
      let parts = wanted.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count >= 2, let found = try? KeyURI(target), let vault = try? found.vault else { return false }
      wanted = parts.dropFirst().joined(separator: "/")
      let name = found.name.folded
      return vault.folded == parts[0] && (wanted == name || "\(name)/\(found.version?.description ?? "")" == wanted)
    }
  }
#endif
