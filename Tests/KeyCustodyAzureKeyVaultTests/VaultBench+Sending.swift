#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyServedVaults

  @testable import KeyCustodyServer

  extension VaultBench {
    /// Has the administrator ask a vault for something.
    @discardableResult
    func send(
      _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil, vault: String
    ) async -> (status: Int, json: JSON?) {
      var fields = HTTPFields()
      fields[.authorization] = "Bearer \(owner)"
      let head = HTTPRequest(
        method: method, scheme: "https", authority: "\(vault).vault.test:\(port)", path: "\(path)?api-version=7.4",
        headerFields: fields)
      let response = await server.respond(to: head, body: body?.bytes ?? [], from: "192.0.2.7")
      return (response.status.code, try? JSON(response.body))
    }

    /// The names of the versions that the vault has of a key.
    func versions(_ version: KeyVersionID, vault: String) async -> [String] {
      let answer = await send(.get, "/keys/kc-\(version)/versions", vault: vault)
      return (answer.json?["value"]?.array ?? []).compactMap { ($0["kid"]?.string).map { String($0.suffix(32)) } }
    }
  }
#endif
