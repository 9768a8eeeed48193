#if CommandLine
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  /// The first vault and the first credentials of a data folder, made once, and written down for programs.
  struct Bootstrap: Sendable {
    /// The first vault's address.
    var vaultURL: String
    /// Where tokens are asked for.
    var authority: String
    /// The tenant.
    var tenant: String
    /// The client that may do everything in the first vault.
    var clientID: String
    /// Its secret.
    var clientSecret: String
    /// The certificate that signed the server's.
    var caFile: String
    /// Where programs of this machine get tokens of its identity, in the form of App Service.
    var identityEndpoint: String
    /// What they must show there.
    var identityHeader: String
    /// The same in the form of IMDS.
    var imdsHost: String
    /// The machine's identity.
    var identity: String

    /// The first vault of a data folder.
    static let vault = "main"
    private static let client = "bootstrap"

    /// Makes the first vault and credentials unless they were made before, and writes or corrects the file.
    static func settle(
      _ folder: DataFolder, _ custody: KeyCustody, _ server: ServerConfiguration
    ) async throws(KeyCustodyError) -> Bootstrap {
      let identityBase = "http://127.0.0.1:\(server.identityPort ?? 0)"
      var found = Bootstrap(
        vaultURL: "https://\(vault).\(custody.vaults.domain)", authority: "https://login.\(custody.vaults.domain)",
        tenant: server.tenant.spelling, clientID: client, clientSecret: "", caFile: server.caFile ?? "",
        identityEndpoint: "\(identityBase)/msi/token", identityHeader: try server.identityHeader() ?? "",
        imdsHost: identityBase, identity: server.identity?.spelling ?? "")
      if let secret = try known(folder) {
        found.clientSecret = secret
      } else {
        found.clientSecret = try await make(folder, custody, server)
      }
      try WholeFile.write(found.json.bytes + [0x0a], to: folder.bootstrapFile)
      return found
    }

    /// The secret of an earlier start.
    private static func known(_ folder: DataFolder) throws(KeyCustodyError) -> String? {
      guard FileTools.size(folder.bootstrapFile) > 0 else { return nil }
      return try JSON(try WholeFile.read(folder.bootstrapFile))["clientSecret"]?.string
    }

    /// Makes vault, client, machine identity and rules; what a start that was cut off made stays.
    ///
    /// Once only: when the file is gone later, the client is made anew with a new secret, and what it and the machine
    /// may do stays as it was set since.
    private static func make(
      _ folder: DataFolder, _ custody: KeyCustody, _ server: ServerConfiguration
    ) async throws(KeyCustodyError) -> String {
      let id = PrincipalID(tenant: server.tenant, subject: try SubjectID(client))
      // Secrets of attempts that were cut off are nobody's.
      try await custody.identities.delete(id)
      try await custody.identities.create(id, kind: .servicePrincipal)
      if FileTools.size(folder.firstStartFile) == 0 {
        try await makeVault(id, custody, server)
        try WholeFile.write(Array("done\n".utf8), to: folder.firstStartFile)
      }
      return try await custody.identities.issueClientSecret(for: id, expires: nil)
    }

    private static func makeVault(
      _ client: PrincipalID, _ custody: KeyCustody, _ server: ServerConfiguration
    ) async throws(KeyCustodyError) {
      let name = try VaultName(vault)
      if try await custody.vaults.definition(name) == nil {
        try await custody.vaults.create(
          VaultDefinition(
            name: name, tenant: server.tenant, region: custody.region, keyProvider: server.keyProvider,
            hsmKeyProvider: server.hsmKeyProvider))
      }
      try await grantEverything(client, in: name, custody)
      try await custody.vaults.setRule(try await custody.administratorRule(of: server.tenant), in: name)
      if let identity = server.identity {
        let id = PrincipalID(tenant: server.tenant, subject: identity)
        try await add(id, .managedIdentity, custody)
        try await grantEverything(id, in: name, custody)
      }
    }

    private static func add(
      _ id: PrincipalID, _ kind: Principal.Kind, _ custody: KeyCustody
    ) async throws(KeyCustodyError) {
      guard try await custody.identities.lookup(id) == nil else { return }
      try await custody.identities.create(id, kind: kind)
    }

    private static func grantEverything(
      _ id: PrincipalID, in vault: VaultName, _ custody: KeyCustody
    ) async throws(KeyCustodyError) {
      try await custody.vaults.setRule(
        AccessRule(
          name: "\(id.tenant.folded)/\(id.subject.folded)", principal: id, keys: Set(KeyPermission.allCases),
          secrets: Set(SecretPermission.allCases)), in: vault)
    }

    /// The file's content.
    var json: JSON {
      [
        "vaultURL": .string(vaultURL), "authority": .string(authority), "tenant": .string(tenant),
        "clientID": .string(clientID), "clientSecret": .string(clientSecret), "caFile": .string(caFile),
        "identityEndpoint": .string(identityEndpoint), "identityHeader": .string(identityHeader),
        "imdsHost": .string(imdsHost), "identity": .string(identity),
      ]
    }
  }
#endif
