#if CommandLine
  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif
  import KeyCustody
  import KeyCustodyVault

  /// A server that is managed over HTTPS by a principal of one of its tenants.
  struct RemoteServer: Sendable {
    /// How the asker shows who it is.
    enum Access: Sendable {
      case token(String)
      case client(PrincipalID, secret: String)
    }
    /// What goes into requests.
    enum Method: String, Sendable { case get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE" }

    private let domain: String
    private let port: Int
    private let caFile: String?
    private let access: Access

    /// Reads an address: `https://DOMAIN[:PORT]`.
    init(_ address: String, caFile: String?, access: Access) throws(KeyCustodyError) {
      var rest = address.dropFirst("https://".count)
      if rest.hasSuffix("/") { rest.removeLast() }
      let halves = rest.lowercased().split(separator: ":", omittingEmptySubsequences: false)
      let port = halves.count == 2 ? Int(halves[1]) ?? 0 : 443
      guard address.lowercased().hasPrefix("https://"), (1...2).contains(halves.count), !halves[0].isEmpty,
        halves[0].utf8.allSatisfy({ $0.isASCIIAlphanumeric || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }),
        (1...65_535).contains(port)
      else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "'\(address.prefix(80))' is not the address of a server.",
          remedy: "Write https://DOMAIN:PORT, the domain of its vaults.")
      }
      domain = String(halves[0])
      self.port = port
      self.caFile = caFile
      self.access = access
    }

    // MARK: Asking

    /// Asks for what comes back as JSON, of the domain itself or of a vault.
    func ask<Answer: Decodable>(
      _ method: Method, _ path: String, of vault: VaultName? = nil, _ body: JSON? = nil
    ) async throws(KeyCustodyError) -> Answer {
      let bytes = try await send(method, path, of: vault, body)
      do { return try JSONDecoder().decode(Answer.self, from: Data(bytes)) } catch {
        throw KeyCustodyError(
          .unavailable, .badAnswer, "The server '\(name)' answered something else than this command expects.",
          remedy: "Check that it is a server of this version, and no proxy in between.", diagnostic: "\(error)")
      }
    }

    /// The same, read member by member.
    func askJSON(
      _ method: Method, _ path: String, of vault: VaultName? = nil, _ body: JSON? = nil
    ) async throws(KeyCustodyError) -> JSON {
      let bytes = try await send(method, path, of: vault, body)
      return bytes.isEmpty ? .null : try JSON(bytes)
    }

    /// - Returns: the body of the answer.
    @discardableResult
    func send(
      _ method: Method, _ path: String, of vault: VaultName? = nil, _ body: JSON? = nil
    ) async throws(KeyCustodyError) -> [UInt8] {
      let token = try await token()
      let host = vault.map { "\($0.folded).\(domain)" } ?? domain
      let answer = try await exchange(
        method.rawValue, "/\(path)", host: host, type: "application/json", body: body?.bytes ?? [], token: token)
      guard (200..<300).contains(answer.status) else { throw refusal(answer) }
      return answer.body
    }

    private func token() async throws(KeyCustodyError) -> String {
      switch access {
      case .token(let token): return token
      case .client(let id, let secret):
        let form =
          "grant_type=client_credentials&client_id=\(id.subject.folded)&client_secret=\(Self.escaped(secret))"
          + "&scope=\(Self.escaped("https://\(authority(domain))/.default"))"
        let answer = try await exchange(
          "POST", "/\(id.tenant.folded)/oauth2/v2.0/token", host: "login.\(domain)",
          type: "application/x-www-form-urlencoded", body: Array(form.utf8), token: nil)
        if answer.status == 200, let token = (try? JSON(answer.body))?["access_token"]?.string { return token }
        if answer.status == 400 || answer.status == 401 {
          throw KeyCustodyError(
            .credentialRejected, .wrongSecret, "The server '\(name)' gives '\(id)' no token for that secret.",
            remedy: "Check the client's name and its secret; it may be switched off, too.")
        }
        throw refusal(answer)
      }
    }

    private func exchange(
      _ method: String, _ path: String, host: String, type: String, body: [UInt8], token: String?
    ) async throws(KeyCustodyError) -> RemoteAnswer {
      var headers = [("Host", authority(host)), ("Accept", "application/json"), ("Connection", "close")]
      if !body.isEmpty || method != "GET" { headers.append(("Content-Length", "\(body.count)")) }
      if !body.isEmpty { headers.append(("Content-Type", type)) }
      if let token { headers.append(("Authorization", "Bearer \(token)")) }
      let connection = RemoteConnection(host: host, port: port, caFile: caFile, name: name)
      return try await connection.exchange(method, path, headers: headers, body: body)
    }

    /// As errors name it.
    private var name: String { "https://\(authority(domain))" }
    private func authority(_ host: String) -> String { port == 443 ? host : "\(host):\(port)" }

    private static func escaped(_ text: String) -> String {
      text.utf8.map { byte in
        byte.isASCIIAlphanumeric || "-._~".utf8.contains(byte)
          ? String(UnicodeScalar(byte)) : "%" + [byte].hexadecimal.uppercased()
      }.joined()
    }

    // MARK: Refusals

    private func refusal(_ answer: RemoteAnswer) -> KeyCustodyError {
      let told = try? JSON(answer.body)
      let message =
        told?["error"]?["message"]?.string ?? told?["error_description"]?.string
        ?? "The server '\(name)' answered with status \(answer.status)."
      switch answer.status {
      case 401:
        return KeyCustodyError(
          .credentialRejected, .wrongSecret, "The server '\(name)' does not take the token. \(message)",
          remedy: "Get a new one for https://\(authority(domain)); its principal may be switched off, too.")
      case 403:
        return KeyCustodyError(
          .denied, .accessDenied, message, remedy: "Ask whoever has that right, or the server's operator for it.")
      case 404:
        return KeyCustodyError(.notFound, .notThere, message, remedy: "Check the names.")
      case 409: return KeyCustodyError(.invalidInput, .alreadyExists, message, remedy: "Choose another name.")
      case 421:
        return KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The server's vaults are not under '\(domain)'. \(message)",
          remedy: "Give --server the domain that 'keycustody serve' prints, without the vault's name.")
      case 429:
        return KeyCustodyError(.busy, .conflict, message, remedy: "Try again in a moment.")
      case 500...:
        return KeyCustodyError(
          .unavailable, .unreachable, message, remedy: "Look at the result before repeating; ask the server's operator."
        )
      default: return KeyCustodyError(.invalidInput, .malformed, message, remedy: "Change what was asked for.")
      }
    }
  }

  /// What came back.
  struct RemoteAnswer: Sendable {
    var status: Int
    var body: [UInt8]
  }

  extension KeyCustodyError.Reason {
    /// A server answered something else than was expected.
    static let badAnswer = Self("bad-answer")
    /// A server has nothing of that name.
    static let notThere = Self("not-there")
  }
#endif
