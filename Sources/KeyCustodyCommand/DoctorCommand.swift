#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices

  struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "doctor",
      abstract: "Check every backend of a configuration: reach it, list what it offers, wrap and unwrap for real.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var configuration: ConfigurationOptions

    /// What was found of one backend.
    struct Finding: Encodable {
      var name: String
      var role: String
      var identity: String?
      var ok: Bool
      var checks: [Check]
      var abilities: [Ability] = []

      struct Check: Encodable {
        var check: String
        var ok: Bool
        var detail: String
      }
      struct Ability: Encodable {
        var ability: String
        var evidence: String
        var detail: String
      }
    }

    func run() async throws {
      try await common.run { output in
        let findings = try await Doctor(
          configuration: configuration.configuration(), environment: configuration.environment
        )
        .examine()
        for finding in findings { output.print(finding.text, finding) }
        guard findings.allSatisfy(\.ok) else {
          throw KeyCustodyError(
            .unavailable, .unreachable, "Not every backend is well.",
            remedy: "Mend what is marked FAIL above, then run 'keycustody doctor' again.")
        }
        if output.format == .text {
          Process.write("Everything is well. Next: keycustody resource create NAME --tenant TENANT\n", to: 1)
        }
      }
    }
  }

  extension DoctorCommand.Finding {
    var text: String {
      var lines = ["\(role) '\(name)'  \(identity ?? "")"]
      for check in checks { lines.append("  \(check.ok ? "ok  " : "FAIL")  \(check.check): \(check.detail)") }
      for ability in abilities {
        let name = ability.ability.padding(to: 22)
        lines.append("        \(name) \(ability.evidence.padding(to: 9)) \(ability.detail)")
      }
      return lines.joined(separator: "\n")
    }
  }

  extension String {
    /// The text, with spaces up to a width.
    func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  }

  /// Opens each backend on its own, so that one that fails does not hide the others.
  struct Doctor {
    let configuration: KeyCustodyConfiguration
    let environment: RuntimeEnvironment

    func examine() async throws(KeyCustodyError) -> [DoctorCommand.Finding] {
      var findings: [DoctorCommand.Finding] = []
      let providers = configuration.root.section("keyProviders")
      for name in try providers.names() where name != "names" {
        findings.append(await examineProvider(name, providers.section(name)))
      }
      let stores = configuration.root.section("policyStores")
      for name in try stores.names() where name != "names" {
        findings.append(await examineStore(name, stores.section(name)))
      }
      guard findings.allSatisfy(\.ok) else { return findings }
      findings.append(await examineDeployment())
      return findings
    }

    private func examineProvider(_ name: String, _ section: ConfigurationSection) async -> DoctorCommand.Finding {
      var finding = DoctorCommand.Finding(name: name, role: "key provider", ok: false, checks: [])
      do throws(KeyCustodyError) {
        let provider = try await Deployment.plugins.openKeyProvider(section, environment)
        finding.identity = provider.identity.description
        finding.checks.append(.init(check: "open", ok: true, detail: "reached, and unlocked with its secret"))
        finding.abilities = provider.capabilities.findings.map { ability, evidence in
          DoctorCommand.Finding.Ability(ability: ability.description, evidence: evidence.word, detail: evidence.detail)
        }.sorted { $0.ability < $1.ability }
        do throws(KeyCustodyError) {
          finding.checks.append(.init(check: "sample", ok: true, detail: try await sample(provider)))
        } catch {
          await provider.close()
          throw error
        }
        await provider.close()
        finding.ok = true
      } catch { finding.fail(error) }
      return finding
    }

    /// Makes a key of the best type there is, wraps and unwraps with it, and destroys it.
    private func sample(_ provider: any KeyProvider) async throws(KeyCustodyError) -> String {
      let context = CallContext(purpose: .probe)
      let capabilities = provider.capabilities
      let types: [KeyType] = [.aes(bits: 256), .rsa(bits: 2048)]
      guard
        let type = types.first(where: {
          capabilities.offers(.generate($0)) && capabilities.preferredWrapAlgorithm(for: $0) != nil
        }), let algorithm = capabilities.preferredWrapAlgorithm(for: type)
      else {
        throw KeyCustodyError(
          .unsupported, .notOffered, "This key provider makes no key that it can unwrap with.",
          remedy: "It can't hold KEKs; for RSA-OAEP-256 on a token set emulate to [\"RSA-OAEP-256\"].")
      }
      let version = try KeyVersionID(random: environment.random)
      _ = try await provider.generate(
        GenerateKeyRequest(version: version, type: type, role: .wrapping, label: "doctor"), context: context)
      do throws(KeyCustodyError) {
        try await provider.probe(version, context: context)
      } catch {
        try? await provider.destroy(version, context: context)
        throw error
      }
      try await provider.destroy(version, context: context)
      return "made an \(type) key, wrapped and unwrapped by \(algorithm), destroyed it"
    }

    private func examineStore(_ name: String, _ section: ConfigurationSection) async -> DoctorCommand.Finding {
      var finding = DoctorCommand.Finding(name: name, role: "policy store", ok: false, checks: [])
      do throws(KeyCustodyError) {
        let store = try await Deployment.plugins.openPolicyStore(section, environment)
        finding.identity = store.identity.description
        do throws(KeyCustodyError) {
          let key = try RecordKey("doctor/\(try environment.random.bytes(8).hexadecimal)")
          guard case .stored(let revision) = try await store.compareAndSet(key, expecting: nil, value: [1]),
            try await store.read(key)?.value == [1],
            case .stored = try await store.delete(key, expecting: revision)
          else {
            throw KeyCustodyError(.fault, .internalFault, "The policy store does not give back what was written.")
          }
        } catch {
          await store.close()
          throw error
        }
        await store.close()
        finding.checks.append(.init(check: "sample", ok: true, detail: "wrote, read and removed a record"))
        finding.ok = true
      } catch { finding.fail(error) }
      return finding
    }

    private func examineDeployment() async -> DoctorCommand.Finding {
      var finding = DoctorCommand.Finding(name: "service", role: "deployment", ok: false, checks: [])
      do throws(KeyCustodyError) {
        let custody = try await KeyCustody.open(
          configuration, plugins: Deployment.plugins, environment: environment)
        finding.checks.append(.init(check: "open", ok: true, detail: "service keys and directory are in place"))
        do throws(KeyCustodyError) { try await custody.probeServiceKeys() } catch {
          await custody.close()
          throw error
        }
        await custody.close()
        finding.checks.append(.init(check: "service keys", ok: true, detail: "wrapped and unwrapped with each of them"))
        finding.ok = true
      } catch { finding.fail(error) }
      return finding
    }
  }

  extension DoctorCommand.Finding {
    fileprivate mutating func fail(_ error: KeyCustodyError) {
      checks.append(
        .init(check: "\(error.code.rawValue), \(error.reason)", ok: false, detail: "\(error.message) \(error.remedy)"))
    }
  }
#endif
