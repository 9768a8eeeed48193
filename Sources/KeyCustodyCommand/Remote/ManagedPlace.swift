#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  /// What a command manages: a deployment of this machine, or a server over HTTPS.
  struct ManagedPlace: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(
      name: .customLong("server"),
      help: "Manage a server over HTTPS: https://DOMAIN:PORT, the domain of its vaults. (or KEYCUSTODY_SERVER)")
    var address: String?
    @Option(help: "A PEM file of the authorities to trust for it. (or KEYCUSTODY_CA_FILE; default: the system's)")
    var caFile: String?
    @Option(help: "A file with a token for it. (or KEYCUSTODY_TOKEN_FILE)") var tokenFile: String?
    @Option(help: "Whose tokens to ask it for: TENANT/NAME. (or KEYCUSTODY_CLIENT_ID)") var clientId: String?
    @Option(help: "A file with that client's secret. (or KEYCUSTODY_CLIENT_SECRET_FILE)") var clientSecretFile: String?

    func validate() throws {
      let isLocal = configuration.file != nil || configuration.data != nil
      guard address == nil || !isLocal else {
        throw ValidationError("Give --server, or --data or --config, not both.")
      }
      guard address != nil || Process.variables["KEYCUSTODY_SERVER"] != nil || tokenFile == nil && clientId == nil
      else {
        throw ValidationError("A token is for a server: give --server too.")
      }
      guard tokenFile == nil || (clientId == nil && clientSecretFile == nil) else {
        throw ValidationError("Give either --token-file, or --client-id with --client-secret-file.")
      }
    }

    /// The server; `nil` where a deployment of this machine is meant.
    ///
    /// What the command says goes before what the environment says, which is the asker's own alone.
    func server() throws(KeyCustodyError) -> RemoteServer? {
      guard Running.current == nil, configuration.file == nil, configuration.data == nil else { return nil }
      func variable(_ name: String) -> String? {
        Process.variables["KEYCUSTODY_\(name)"].flatMap { $0.isEmpty ? nil : $0 }
      }
      guard let address = address ?? variable("SERVER") else { return nil }
      let access: RemoteServer.Access
      switch (tokenFile ?? (clientId == nil ? variable("TOKEN_FILE") : nil), clientId ?? variable("CLIENT_ID")) {
      case (let file?, _): access = .token(try Self.word(in: file, "the token"))
      case (nil, let client?):
        guard let file = clientSecretFile ?? variable("CLIENT_SECRET_FILE") else {
          throw KeyCustodyError(
            .invalidInput, .missingConfigurationKey, "The secret of the client '\(client.prefix(80))' is missing.",
            remedy: "Name the file it is in by --client-secret-file.")
        }
        access = .client(try PrincipalID(client), secret: try Self.word(in: file, "the client's secret"))
      case (nil, nil):
        throw KeyCustodyError(
          .invalidInput, .missingConfigurationKey, "Nothing says who asks the server '\(address.prefix(80))'.",
          remedy: "Give --token-file FILE, or --client-id TENANT/NAME and --client-secret-file FILE.")
      }
      return try RemoteServer(address, caFile: caFile ?? variable("CA_FILE"), access: access)
    }

    /// Does a command's work at a server over HTTPS, or here.
    func manage<Result>(
      over remote: (RemoteServer) async throws(KeyCustodyError) -> Result,
      here local: (Administration, KeyCustody) async throws(KeyCustodyError) -> Result
    ) async throws(KeyCustodyError) -> Result {
      if let server = try server() { return try await remote(server) }
      return try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
        // By the owner's socket, or in a process of its own.
        let asker = Administrator(operatorBy: Running.current == nil ? "commandLine" : "socket")
        return try await local(Administration(of: custody, by: asker), custody)
      }
    }

    /// A principal of whose tenant the server is told by the token alone.
    static func own(_ name: String, tenant: String? = nil) throws(KeyCustodyError) -> SubjectID {
      guard !name.contains("/"), tenant == nil else {
        throw KeyCustodyError(
          .invalidInput, .badName, "Over HTTPS a principal is one of the administrator's own tenant.",
          remedy: "Write its name alone.")
      }
      return try SubjectID(name)
    }

    /// One line of printable characters.
    private static func word(in path: String, _ what: String) throws(KeyCustodyError) -> String {
      let text = String(decoding: try WholeFile.read(path), as: UTF8.self)
      let word = text.drop { $0.isWhitespace }.prefix { $0 > " " && $0 <= "~" }
      guard (1...16_384).contains(word.utf8.count), text.dropFirst(word.count).allSatisfy(\.isWhitespace) else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "The file '\(path)' does not hold \(what) alone.",
          remedy: "Write it there as one word, for yourself alone (chmod 600).")
      }
      return String(word)
    }
  }

  /// A key as a command names it, for a server that alone knows where its vaults are.
  struct NamedKey {
    let vault: VaultName
    let name: KeyName
    let version: KeyVersionID?

    /// Reads VAULT/NAME[/VERSION] or an address.
    init(_ text: String) throws(KeyCustodyError) {
      if text.hasPrefix("https:") {
        let uri = try KeyURI(text)
        (vault, name, version) = (try uri.vault, uri.name, uri.version)
        return
      }
      let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2 || parts.count == 3 else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "'\(text.prefix(80))' is not a key.",
          remedy: "Write VAULT/NAME, VAULT/NAME/VERSION or the full address.")
      }
      (vault, name) = (try VaultName(parts[0]), try KeyName(parts[1]))
      version = parts.count == 3 ? try KeyVersionID(parts[2]) : nil
    }

    /// Where it is on the wire of Key Vault, with its version where one is named.
    var path: String { "keys/\(name)" + (version.map { "/\($0)" } ?? "") }
  }
#endif
