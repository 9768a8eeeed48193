import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// What Key Vault's wire lacks, under a path of its own: data keys, re-wrapping, impact, explanations, the audit log.
struct OwnRoutes: Sendable {
  let server: VaultServer
  let vault: VaultName
  let caller: Principal

  private var vaults: Vaults { server.custody.vaults }

  /// Answers `/keycustody/v1/…`; `nil` for any other address.
  func respond(_ request: WireRequest, _ context: CallContext) async throws(WireError) -> WireResponse? {
    let segments = request.segments
    guard segments.count >= 3, segments[0].lowercased() == "keycustody", segments[1].lowercased() == "v1" else {
      return nil
    }
    guard APIRoutes.isServed(request.method, segments, on: .own) else { throw VaultRoutes.unknown }
    let asked = Asked(routes: self, request: request, context: context)
    switch (request.method, segments[2].lowercased(), segments.count) {
    case (.post, "keys", 5...6): return try await asked.key(Array(segments.dropFirst(3)))
    case (.get, "keys", 5): return try await asked.look(Array(segments.dropFirst(3)))
    case (.get, "keys", 3): return try await asked.listKeys()
    case (.get, "keys", 4): return try await asked.showKey(segments[3])
    case (.get, "explain", 3): return try await asked.explain()
    case (.get, "audit", 3): return try await asked.listAdministration()
    default: throw VaultRoutes.unknown
    }
  }

  /// One request and its context.
  private struct Asked {
    let routes: OwnRoutes
    let request: WireRequest
    let context: CallContext

    private var vaults: Vaults { routes.vaults }
    private var caller: Principal { routes.caller }

    private func uri(_ segments: [String]) throws(WireError) -> KeyURI {
      do throws(KeyCustodyError) {
        let version = segments.count == 3 ? try KeyVersionID(segments[1]) : nil
        return vaults.uri(routes.vault, try KeyName(segments[0]), version: version)
      } catch { throw WireError(error) }
    }

    private func algorithm(_ body: WireBody, _ name: String = "alg") throws(WireError) -> WrapAlgorithm {
      try VaultRoutes.wrapAlgorithm(body, name)
    }

    /// `POST keys/NAME[/VERSION]/OPERATION`.
    func key(_ segments: [String]) async throws(WireError) -> WireResponse {
      let uri = try uri(segments)
      let body = try WireBody(request.body)
      switch segments.last?.lowercased() {
      case "create": return try await makeKey(segments[0])
      case "generatedatakey": return try await dataKey(uri, body)
      case "rewrap": return try await rewrap(uri, body)
      default: throw VaultRoutes.unknown
      }
    }

    /// A fresh random key, in clear and wrapped: encrypt with the one, keep the other.
    private func dataKey(_ uri: KeyURI, _ body: WireBody) async throws(WireError) -> WireResponse {
      let size = try body.number("size") ?? 32
      guard [16, 24, 32, 64].contains(size) else { throw .badParameter("'size' is 16, 24, 32 or 64 bytes.") }
      let algorithm = try algorithm(body)
      do throws(KeyCustodyError) {
        let key = try routes.server.custody.environment.random.secret(Int(size))
        let wrapped = try await vaults.wrap(key, with: uri, algorithm: algorithm, as: caller, context: context)
        let plain = key.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
        return WireResponse(
          .ok,
          [
            "kid": .string(wrapped.key.description), "alg": .string(wrapped.algorithm.rawValue),
            "value": .string(wrapped.bytes.base64URL), "plaintext": .string(plain.base64URL),
          ])
      } catch { throw WireError(error) }
    }

    /// Wraps under the newest version what an older one wrapped; the plaintext stays in here.
    private func rewrap(_ uri: KeyURI, _ body: WireBody) async throws(WireError) -> WireResponse {
      guard uri.version != nil else { throw .badParameter("Name the version that wrapped the value.") }
      let (from, value) = (try algorithm(body), try body.requiredBytes("value"))
      let to = body["newAlg"] == nil ? from : try algorithm(body, "newAlg")
      do throws(KeyCustodyError) {
        let secret = try await vaults.unwrap(value, with: uri, algorithm: from, as: caller, context: context)
        let wrapped = try await vaults.wrap(
          secret, with: uri.with(version: nil), algorithm: to, as: caller, context: context)
        return WireResponse(
          .ok,
          [
            "kid": .string(wrapped.key.description), "alg": .string(wrapped.algorithm.rawValue),
            "value": .string(wrapped.bytes.base64URL),
          ])
      } catch { throw WireError(error) }
    }

    /// `GET keys/NAME/impact`, `GET keys/NAME/audit`.
    func look(_ segments: [String]) async throws(WireError) -> WireResponse {
      let uri = try uri([segments[0]])
      do throws(KeyCustodyError) {
        switch segments.last?.lowercased() {
        case "impact":
          _ = try await vaults.key(uri, as: caller, context: context)
          let dependents = try await vaults.impact(of: uri)
          return WireResponse(
            .ok,
            [
              "value": .array(
                dependents.map {
                  ["resource": .string($0.resource.spelling), "key": .string($0.key.description)]
                })
            ])
        case "audit": return try await audit(uri)
        default: break
        }
      } catch { throw WireError(error) }
      throw VaultRoutes.unknown
    }

    private func audit(_ uri: KeyURI) async throws(KeyCustodyError) -> WireResponse {
      let page = try await vaults.auditRecords(
        ofKey: uri, AuditPageRequest(after: request.query["after"]), as: caller, context: context)
      return WireResponse(.ok, AuditWire.json(page))
    }

    /// Why the caller may, or may not, do what `permission` names.
    func explain() async throws(WireError) -> WireResponse {
      let permission = try OwnRoutes.permission(request)
      do throws(KeyCustodyError) {
        let key: KeyURI? =
          if let name = request.query["key"] { vaults.uri(routes.vault, try KeyName(name)) } else { nil }
        return OwnRoutes.explanation(
          try await vaults.explain(
            permission, in: routes.vault, key: key, for: caller, from: context.clientAddress,
            by: Administrator(asking: caller, context)))
      } catch { throw WireError(error) }
    }

    // MARK: Keys as the command line tells them, and the vault's administration

    func listKeys() async throws(WireError) -> WireResponse {
      let summaries: [KeySummary]
      do throws(KeyCustodyError) {
        let any = vaults.uri(routes.vault, try KeyName("any"))
        summaries = try await vaults.keys(in: routes.vault, as: caller, context: context).map {
          KeySummary($0, at: any)
        }
      } catch { throw WireError(error) }
      return try WireResponse(encoding: summaries)
    }

    func showKey(_ name: String) async throws(WireError) -> WireResponse {
      let uri = try uri([name])
      let record: KeyRecord
      do throws(KeyCustodyError) {
        do throws(KeyCustodyError) { record = try await vaults.key(uri, as: caller, context: context) } catch {
          guard error.reason == .keyDeleted else { throw error }
          // For whoever may list keys it is still there.
          let all = try await vaults.keys(in: routes.vault, as: caller, context: context)
          guard let found = all.first(where: { $0.name == uri.name }) else { throw error }
          record = found
        }
      } catch { throw WireError(error) }
      return try WireResponse(encoding: KeySummary(record, at: uri))
    }

    func makeKey(_ name: String) async throws(WireError) -> WireResponse {
      let (uri, body) = (try uri([name]), try WireBody(request.body))
      let (typeName, role) = (try body.requiredText("type"), try body.text("role") ?? KeyRole.wrapping.rawValue)
      guard let type = try? KeyType(typeName) else {
        throw .badParameter(
          "'type' is not a key type: use rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384, ec-p521 or aes-256.")
      }
      guard let role = KeyRole(rawValue: role) else { throw .badParameter("'role' is wrapping, signing or general.") }
      do throws(KeyCustodyError) {
        _ = try await vaults.createKey(uri, type: type, role: role, as: caller, context: context)
      } catch { throw WireError(error) }
      return try await showKey(name)
    }

    func listAdministration() async throws(WireError) -> WireResponse {
      do throws(KeyCustodyError) {
        let page = try await vaults.administrationRecords(
          of: routes.vault, AuditPageRequest(after: request.query["after"]), as: caller, context: context)
        return WireResponse(.ok, AuditWire.json(page))
      } catch { throw WireError(error) }
    }
  }

  /// The permission that a question is about.
  static func permission(_ request: WireRequest) throws(WireError) -> Permission {
    let name = request.query["permission"]?.lowercased()
    if let found = Permission.all.first(where: { $0.description.lowercased() == name }) { return found }
    throw .badParameter("'permission' is not one of \(Permission.all.map(\.description).joined(separator: ", ")).")
  }

  static func explanation(_ found: AccessExplanation) -> WireResponse {
    WireResponse(
      .ok,
      JSON(members: [
        ("allowed", .bool(found.decision.isAllowed)), ("rule", .string(found.decision.rule)),
        // Whoever may not is not told what there is.
        ("obstacle", found.decision.isAllowed ? found.obstacle.map { .string($0.message) } : nil),
      ]))
  }
}
