public import KeyCustody

/// What a round of purging did.
public struct RetentionRound: Sendable, Hashable {
  /// The addresses of keys and secrets that are gone.
  public var purged: [String] = []
  /// What could not be purged, and is tried again in the next round.
  public var failed: [String] = []
}

extension Vaults {
  /// Purges keys and secrets whose retention has run out (SEMANTICS V2): for the host to call from time to time.
  ///
  /// It counts as the retention does, by the time that the vault was watched over. Deletions of vaults that were cut off
  /// are brought to an end too.
  ///
  /// - Throws: what the policy store throws.
  public func purgeExpired() async throws(KeyCustodyError) -> RetentionRound {
    var round = RetentionRound()
    let now = try await observed.now()
    for vault in try await definitions() {
      do throws(KeyCustodyError) { try await purgeExpired(vault.name, now, &round) } catch {
        // A damaged record of one vault keeps no other from its due.
        round.failed.append("https://\(vault.name.folded).\(domain)")
      }
    }
    for vault in try await everyRecord() where vault.deletion != nil {
      do throws(KeyCustodyError) { try await settle(vault.definition.name) } catch {
        round.failed.append(address(vault.definition.name))
      }
    }
    return round
  }

  private func purgeExpired(
    _ vault: VaultName, _ now: Int64, _ round: inout RetentionRound
  ) async throws(KeyCustodyError) {
    let folder = "vaults/\(vault.folded)"
    for (_, record) in try await keys.all(prefix: "\(folder)/keys/") {
      guard let deletion = record.deletion, deletion.remaining(now) == 0 else { continue }
      let uri = uri(vault, record.name)
      await note(uri.description, in: &round) { () async throws(KeyCustodyError) in
        try await self.purge(uri, by: Self.retention, Self.upkeep)
      }
    }
    for (_, record) in try await secrets.all(prefix: "\(folder)/secrets/") {
      guard let deletion = record.deletion, deletion.remaining(now) == 0 else { continue }
      let uri = secretURI(vault, record.name)
      await note(uri.description, in: &round) { () async throws(KeyCustodyError) in
        try await self.purge(uri, by: Self.retention, Self.upkeep)
      }
    }
  }

  private static let retention = Authority.vault(rule: "retention")
  private static let upkeep = CallContext(purpose: .administration, requestID: "retention")

  private func note(
    _ address: String, in round: inout RetentionRound, _ body: () async throws(KeyCustodyError) -> Void
  ) async {
    do throws(KeyCustodyError) {
      try await body()
      round.purged.append(address)
    } catch {
      // Recovered, or purged by somebody else, meanwhile.
      if error.code != .notFound { round.failed.append(address) }
    }
  }
}
