import HTTPTypes
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyServices
import KeyCustodyVault

extension VaultRoutes {
  /// `/keys…`.
  func keys(_ segments: [String]) async throws(WireError) -> WireResponse {
    switch (request.method, segments.count) {
    case (.get, 0):
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listKeys(in: vault, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "keys") { KeyWire.item($0, withVersion: false) }
    case (.post, 1) where segments[0].lowercased() == "restore":
      return try await restoreKey()
    case (_, 1...3):
      return try await key(vaults.uri(vault, try name(segments[0])), Array(segments.dropFirst()))
    default: throw Self.unknown
    }
  }

  /// `/keys/NAME…`.
  private func key(_ uri: KeyURI, _ rest: [String]) async throws(WireError) -> WireResponse {
    let last = rest.last?.lowercased()
    switch (request.method, rest.count) {
    case (.put, 0): return try await importKey(uri)
    case (.delete, 0):
      let deleted = try await asked { () async throws(KeyCustodyError) in
        try await vaults.deleteKey(uri, as: caller, context: context)
      }
      return WireResponse(.ok, try KeyWire.deleted(deleted))
    case (.get, 1) where last == "versions":
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listVersions(of: uri, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "keys/\(uri.name)/versions") { KeyWire.item($0, withVersion: true) }
    case (.get, 1) where last == "rotationpolicy":
      let policy = try await asked { () async throws(KeyCustodyError) in
        try await vaults.rotationPolicy(of: uri, as: caller, context: context)
      }
      return WireResponse(.ok, RotationWire.json(policy, of: uri))
    case (.put, 1) where last == "rotationpolicy":
      let wanted = try RotationWire.policy(try body())
      let policy = try await asked { () async throws(KeyCustodyError) in
        try await vaults.setRotationPolicy(wanted, of: uri, as: caller, context: context)
      }
      return WireResponse(.ok, RotationWire.json(policy, of: uri))
    case (.get, 0...1): return try await show(try versioned(uri, rest.first))
    case (.patch, 0...1): return try await update(try versioned(uri, rest.first))
    case (.post, 1):
      if let answer = try await whole(uri, last ?? "") { return answer }
      return try await use(uri, last ?? "")
    case (.post, 2): return try await use(try versioned(uri, rest.first), last ?? "")
    default: throw Self.unknown
    }
  }

  private func versioned(_ uri: KeyURI, _ text: String?) throws(WireError) -> KeyURI {
    guard let text else { return uri }
    return uri.with(version: try version(text, of: "key"))
  }

  /// Operations on a key as a whole; `nil` for any other.
  private func whole(_ uri: KeyURI, _ operation: String) async throws(WireError) -> WireResponse? {
    switch operation {
    case "create": return try await createKey(uri)
    case "rotate":
      let key = try await asked { () async throws(KeyCustodyError) in
        try await vaults.rotateKey(uri, as: caller, context: context)
      }
      return WireResponse(.ok, try KeyWire.bundle(key))
    case "backup":
      let blob = try await asked { () async throws(KeyCustodyError) in
        try await vaults.backUpKey(uri, as: caller, context: context)
      }
      return try backup(blob)
    default: return nil
    }
  }

  private func createKey(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let body = try body()
    let asked = try KeyWire.type(body)
    let attributes = try KeyWire.attributes(body)
    let role = KeyWire.role(of: asked.type, isFIPS: isFIPS, operations: attributes.operations)
    let key = try await self.asked { () async throws(KeyCustodyError) in
      try await vaults.createKey(
        uri, type: asked.type, role: role, attributes: attributes, protection: asked.protection,
        backups: .whereOffered, onExisting: .addVersion, as: caller, context: context)
    }
    return WireResponse(.ok, try KeyWire.bundle(key))
  }

  private func importKey(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let body = try body()
    guard let jwk = try body.body("key") else { throw .badParameter("'key' is missing.") }
    var attributes = try KeyWire.attributes(body)
    if attributes.operations == nil { attributes.operations = try KeyWire.operations(try jwk.texts("key_ops")) }
    let type = try jwk.requiredText("kty")
    let protection: KeyProtection = try body.flag("Hsm") ?? false || type.hasSuffix("-HSM") ? .hsm : .software
    let chosen = attributes
    let key = try await asked { () async throws(KeyCustodyError) in
      // Checking its primes takes a while: not for those who may not import anyhow. Their attempt is on record.
      let isAdmitted = try await vaults.admits(.key(.import), in: vault, for: caller, from: context.clientAddress)
      let members = isAdmitted ? jwk.strings : Self.nobodysKey
      let read = try await importer.run { () throws(KeyCustodyError) in try PrivateJSONWebKey.importable(members) }
      let type = read.type
      return try await vaults.importKey(
        read.takeMaterial(), to: uri, type: type,
        role: KeyWire.role(of: type, isFIPS: isFIPS, operations: chosen.operations),
        attributes: chosen, protection: protection, backups: .whereOffered, as: caller, context: context)
    }
    return WireResponse(.ok, try KeyWire.bundle(key))
  }

  /// Stands for a key that is not looked at.
  private static let nobodysKey = ["kty": "oct", "k": [UInt8](repeating: 0, count: 32).base64URL]

  private var isFIPS: Bool { KeyCustody.cryptographicModule.isFIPS }

  private func restoreKey() async throws(WireError) -> WireResponse {
    let blob = try body().requiredBytes("value")
    let key = try await asked { () async throws(KeyCustodyError) in
      try await vaults.restoreKey(blob, in: vault, as: caller, context: context)
    }
    return WireResponse(.ok, try KeyWire.bundle(key))
  }

  private func show(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let key = try await asked { () async throws(KeyCustodyError) in
      try await vaults.keyVersion(uri, as: caller, context: context)
    }
    return WireResponse(.ok, try KeyWire.bundle(key))
  }

  private func update(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let attributes = try KeyWire.attributes(try body())
    let key = try await asked { () async throws(KeyCustodyError) in
      try await vaults.updateKey(uri, attributes, as: caller, context: context)
    }
    return WireResponse(.ok, try KeyWire.bundle(key))
  }

  // MARK: Deleted keys

  /// `/deletedkeys…`.
  func deletedKeys(_ segments: [String]) async throws(WireError) -> WireResponse {
    if request.method == .get, segments.isEmpty {
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listDeletedKeys(in: vault, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "deletedkeys", KeyWire.deletedItem)
    }
    guard let first = segments.first else { throw Self.unknown }
    let uri = vaults.uri(vault, try name(first))
    switch (request.method, segments.count) {
    case (.get, 1):
      let deleted = try await asked { () async throws(KeyCustodyError) in
        try await vaults.deletedKey(uri, as: caller, context: context)
      }
      return WireResponse(.ok, try KeyWire.deleted(deleted))
    case (.delete, 1):
      try await asked { () async throws(KeyCustodyError) in
        try await vaults.purgeKey(uri, as: caller, context: context)
      }
      return Self.done
    case (.post, 2) where segments[1].lowercased() == "recover":
      let key = try await asked { () async throws(KeyCustodyError) in
        try await vaults.recoverKey(uri, as: caller, context: context)
      }
      return WireResponse(.ok, try KeyWire.bundle(key))
    default: throw Self.unknown
    }
  }
}
