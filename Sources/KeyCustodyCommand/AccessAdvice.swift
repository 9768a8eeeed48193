#if CommandLine
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  /// The commands that give back an access that was withdrawn.
  struct AccessAdvice {
    private let custody: KeyCustody
    init(_ custody: KeyCustody) { self.custody = custody }

    /// What a resource's identity needs of a vault.
    private static let needed: [KeyPermission] = [.get, .wrapKey, .unwrapKey]

    /// - Parameter named: the key that the command names, if it names one.
    func advise(
      _ error: KeyCustodyError, _ resource: ProtectedResource, key named: String? = nil
    ) async -> KeyCustodyError {
      switch error.reason {
      case .accessDenied, .grantRequired, .keyDisabled, .keyDeleted: break
      default: return error
      }
      guard let status = try? await resource.status(), let keys = try? keys(status, named) else { return error }
      switch error.reason {
      case .accessDenied, .grantRequired:
        guard let identity = status.identity else { return error }
        for vault in keys.compactMap({ try? $0.vault }) {
          guard let commands = try? await grant(identity, in: vault) else { continue }
          return error.with(remedy: "Whoever administers the vault '\(vault)' can grant it: \(commands)")
        }
        return error
      case .keyDisabled:
        // Where several versions may be meant, the error alone knows which.
        guard keys.count == 1, status.outgoingRootKeys == 0, let key = keys.first, let name = try? name(key) else {
          return error
        }
        return error.with(remedy: "The key's owner can enable it: keycustody key enable \(name)")
      default:
        let names = Set(keys.compactMap { try? name($0.with(version: nil)) })
        guard names.count == 1, let name = names.first else { return error }
        return error.with(
          remedy: "The key's owner can recover it, unless it is being purged: keycustody key recover \(name)")
      }
    }

    /// The keys that an error may be about: the one that the command names, and the resource's.
    private func keys(_ status: ResourceStatus, _ named: String?) throws(KeyCustodyError) -> [KeyURI] {
      let keys = [try named.map { (text) throws(KeyCustodyError) in try custody.keyURI(text) }, status.key]
      return keys.compactMap(\.self)
    }

    /// As commands take it.
    private func name(_ key: KeyURI) throws(KeyCustodyError) -> String {
      "\(try key.vault)/\(key.name)" + (key.version.map { "/\($0)" } ?? "")
    }

    /// `nil` where no command for rules would help, because the rules grant all that is needed.
    private func grant(_ identity: PrincipalID, in vault: VaultName) async throws(KeyCustodyError) -> String? {
      let policy = try await custody.vaults.policy(of: vault)
      let granted = policy.permissions(of: identity)
      guard !Self.needed.allSatisfy(granted.contains) else { return nil }
      // What it may do already stays: setting replaces.
      let keys = KeyPermission.allCases.filter { granted.contains($0) || Self.needed.contains($0) }
      let set = "keycustody policy set \(vault) \(identity) --keys \(keys.map(\.rawValue).joined(separator: ","))"
      let forbids = policy.rules.contains { $0.principal == identity && $0.effect == .deny }
      return forbids ? "keycustody policy delete \(vault) \(identity), since a rule forbids it, and then \(set)" : set
    }
  }
#endif
