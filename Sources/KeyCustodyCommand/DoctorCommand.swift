#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyPKCS11
  import KeyCustodyServices

  struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "doctor",
      abstract: "Check every backend of a configuration: reach it, list what it offers, wrap and unwrap for real.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Only list the ways in which PKCS#11 tokens are known to differ, and how they are coped with.")
    var quirks = false

    /// What was found of one backend.
    struct Finding: Encodable {
      var name: String
      var role: String
      var identity: String?
      var ok: Bool
      var checks: [Check]
      var abilities: [Ability] = []
      /// What is being tried.
      var step = "open"
      var failure: KeyCustodyError?

      // Not what serves the examination alone.
      enum CodingKeys: CodingKey { case name, role, identity, ok, checks, abilities }

      /// One thing that was tried; code, reason and remedy where it failed.
      struct Check: Encodable {
        var check: String
        var ok: Bool
        var detail: String
        var code: String?
        var reason: String?
        var remedy: String?
      }
      struct Ability: Encodable {
        var ability: String
        var evidence: String
        var detail: String
      }
    }

    func run() async throws {
      try await common.run { output in
        guard !quirks else {
          for quirk in Quirk.known { output.print(quirk.text, quirk) }
          return
        }
        let findings = try await Doctor(
          configuration: configuration.configuration(), environment: configuration.environment
        )
        .examine()
        for finding in findings { output.print(finding.text, finding) }
        if let error = DoctorCommand.failure(of: findings) { throw error }
        if output.format == .text {
          Process.write("Everything is well. Next: keycustody resource create NAME --tenant TENANT\n", to: 1)
        }
      }
    }
  }

  extension DoctorCommand {
    /// What ends the program where something failed: the first failure's code and reason, and where it stands.
    private static func failure(of findings: [Finding]) -> KeyCustodyError? {
      let failed = findings.filter { !$0.ok }
      guard let first = failed.first else { return nil }
      let error = first.failure ?? KeyCustodyError(.fault, .internalFault, "A check did not come to its end.")
      let others = failed.count > 1 ? " \(failed.count - 1) more failed, see above." : ""
      return error.with(
        message: "Not everything is well: the \(first.role) '\(first.name)' fails at '\(first.step)'. \(error.message)"
          + others,
        remedy: "\(error.remedy) Then run 'keycustody doctor' again.")
    }
  }

  extension Quirk {
    fileprivate var text: String { "token   \(what)\nanswer  \(answer)\nsource  \(source)\n" }
  }

  extension DoctorCommand.Finding {
    var text: String {
      var lines = ["\(role) '\(name)'  \(identity ?? "")"]
      for check in checks {
        let cause = check.code.map { " (\($0), \(check.reason ?? ""))" } ?? ""
        lines.append("  \(check.ok ? "ok  " : "FAIL")  \(check.check): \(check.detail)\(cause)")
        if let remedy = check.remedy, !remedy.isEmpty { lines.append("        remedy: \(remedy)") }
      }
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

    init(configuration: KeyCustodyConfiguration, environment: RuntimeEnvironment) {
      self.configuration = configuration
      self.environment = environment
    }

    func examine() async throws(KeyCustodyError) -> [DoctorCommand.Finding] {
      var findings = [examineProcess()]
      // In the wrong mode, or in none, nothing else may be touched.
      guard findings.allSatisfy(\.ok) else { return findings }
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

    private func examineProcess() -> DoctorCommand.Finding {
      var finding = DoctorCommand.Finding(name: "cryptography", role: "process", ok: false, checks: [])
      finding.step = "module"
      do throws(KeyCustodyError) {
        let module = try KeyCustody.prepareCryptography(configuration)
        finding.checks.append(.init(check: "module", ok: true, detail: module.description))
        finding.checks.append(memory())
        finding.ok = true
      } catch { finding.fail(error) }
      return finding
    }

    /// Whether secrets are kept from swap; it is no failure where they can't be.
    private func memory() -> DoctorCommand.Finding.Check {
      let report = SecretMemory.examine()
      let limit = report.limit.map { "\($0 / 1024) KiB" } ?? "any amount"
      guard report.lockedBytes > 0 else {
        return .init(
          check: "memory (not locked)", ok: true,
          detail:
            "secrets may be written to swap: RLIMIT_MEMLOCK allows \(limit). The machine's administrator can raise "
            + "it: LimitMEMLOCK=64M for a systemd service, 'ulimit -l 65536' for a shell")
      }
      return .init(
        check: "memory", ok: true,
        detail:
          "secrets are locked against swap (\(report.lockedBytes / 1024) KiB locked, \(limit) may be; beyond that "
          + "they lie in ordinary memory, cleared all the same)")
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
          finding.step = "sample"
          finding.checks.append(.init(check: "sample", ok: true, detail: try await sample(provider)))
          finding.step = "leftover"
          for leftover in try await provider.inventory?.leftovers() ?? [] {
            finding.checks.append(.init(check: "leftover", ok: true, detail: "\(leftover.what). \(leftover.remedy)"))
          }
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
        finding.step = "sample"
        do throws(KeyCustodyError) {
          let key = try RecordKey("doctor/\(try environment.random.bytes(8).hexadecimal)")
          guard case .stored(let revision) = try await store.compareAndSet(key, expecting: nil, value: [1]),
            try await store.read(key)?.value == [1],
            case .stored = try await store.delete(key, expecting: revision)
          else {
            throw KeyCustodyError(
              .fault, .internalFault, "The policy store does not give back what was written.",
              remedy: "Look at the disk or device that it keeps its records on; use another policy store until then.")
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
        finding.step = "service keys"
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
      failure = error
      checks.append(
        .init(
          check: step, ok: false, detail: error.message, code: error.code.rawValue, reason: error.reason.rawValue,
          remedy: error.remedy))
    }
  }
#endif
