import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// What is asked of one vault, by an authenticated caller.
struct VaultRoutes: Sendable {
  let custody: KeyCustody
  let vault: VaultName
  let caller: Principal
  let context: CallContext
  let request: WireRequest
  /// The version of the wire that the caller speaks.
  let version: String
  /// Reads keys that are brought in.
  let importer: BlockingWorker
  /// The largest body of a request that restores a backup.
  let largestBackup: Int

  var vaults: Vaults { custody.vaults }

  /// Finds the handler of a request and answers.
  func respond() async throws(WireError) -> WireResponse {
    let segments = request.segments
    guard APIRoutes.isServed(request.method, segments, on: .vault), let first = segments.first?.lowercased() else {
      throw Self.unknown
    }
    let rest = Array(segments.dropFirst())
    switch first {
    case "keys": return try await keys(rest)
    case "deletedkeys": return try await deletedKeys(rest)
    case "secrets": return try await secrets(rest)
    case "deletedsecrets": return try await deletedSecrets(rest)
    default: throw Self.unknown
    }
  }

  static let unknown = WireError(.notFound, "NotFound", "There is nothing at this address for this method.")

  // MARK: What handlers share

  /// Runs what may throw an error of the vault.
  func asked<Answer>(
    _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(WireError) -> Answer {
    do throws(KeyCustodyError) { return try await body() } catch { throw WireError(error) }
  }

  func body() throws(WireError) -> WireBody { try WireBody(request.body) }

  /// `maxresults`, at most what a page has.
  func limit() throws(WireError) -> Int? {
    guard let text = request.query["maxresults"] else { return nil }
    guard let number = Int(text), (1...25).contains(number) else {
      throw .badParameter("'maxresults' is a number from 1 to 25.")
    }
    return number
  }

  /// A page of a list, with the address of the next one on this vault.
  func page<Item>(_ page: Page<Item>, at path: String, _ item: (Item) -> JSON) -> WireResponse {
    var next: JSON = .null
    if let token = page.next {
      var query = "api-version=\(version)&$skiptoken=\(token)"
      if let limit = request.query["maxresults"] { query += "&maxresults=\(limit)" }
      next = .string("https://\(vault.folded).\(vaults.domain)/\(path)?\(query)")
    }
    return WireResponse(
      .ok, JSON(members: [("value", .array(page.items.map(item))), ("nextLink", next)]))
  }

  /// Where a list goes on.
  var after: String? { request.query["$skiptoken"] ?? request.query["$skipToken"] }

  /// A backup, where it could be restored.
  func backup(_ blob: [UInt8]) throws(WireError) -> WireResponse {
    let answer = WireResponse(.ok, ["value": .string(blob.base64URL)])
    guard answer.body.count <= largestBackup else {
      throw .badParameter(
        "A backup of all versions has \(answer.body.count) bytes, more than can be restored here, \(largestBackup).")
    }
    return answer
  }

  func name<Tag>(_ text: String) throws(WireError) -> Identifier<Tag> {
    do throws(KeyCustodyError) { return try Identifier(text) } catch { throw WireError(error) }
  }

  /// A version's name; what can't be one is a version that is not there.
  func version(_ text: String, of what: String) throws(WireError) -> KeyVersionID {
    if let version = try? KeyVersionID(text) { return version }
    throw WireError(
      .notFound, what == "secret" ? "SecretNotFound" : "KeyNotFound", "There is no such version of this \(what).")
  }

  /// The answer of what has none.
  static let done = WireResponse(.noContent)
}
