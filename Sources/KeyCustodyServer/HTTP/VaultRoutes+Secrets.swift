import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

extension VaultRoutes {
  /// `/secrets…`.
  func secrets(_ segments: [String]) async throws(WireError) -> WireResponse {
    switch (request.method, segments.count) {
    case (.get, 0):
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listSecrets(in: vault, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "secrets") { SecretWire.item($0, withVersion: false) }
    case (.post, 1) where segments[0].lowercased() == "restore":
      let blob = try body().requiredBytes("value")
      let secret = try await asked { () async throws(KeyCustodyError) in
        try await vaults.restoreSecret(blob, in: vault, as: caller, context: context)
      }
      return WireResponse(.ok, SecretWire.bundle(secret))
    case (_, 1...2):
      return try await secret(vaults.secretURI(vault, try name(segments[0])), segments.count == 2 ? segments[1] : nil)
    default: throw Self.unknown
    }
  }

  /// `/secrets/NAME…`.
  private func secret(_ uri: SecretURI, _ last: String?) async throws(WireError) -> WireResponse {
    switch (request.method, last?.lowercased()) {
    case (.put, nil): return try await setSecret(uri)
    case (.delete, nil):
      let deleted = try await asked { () async throws(KeyCustodyError) in
        try await vaults.deleteSecret(uri, as: caller, context: context)
      }
      return WireResponse(.ok, SecretWire.deleted(deleted))
    case (.get, "versions"):
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listVersions(of: uri, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "secrets/\(uri.name)/versions") { SecretWire.item($0, withVersion: true) }
    case (.post, "backup"):
      let blob = try await asked { () async throws(KeyCustodyError) in
        try await vaults.backUpSecret(uri, as: caller, context: context)
      }
      return try backup(blob)
    case (.get, _): return try await showSecret(try versioned(uri, last))
    case (.patch, _):
      let attributes = try SecretWire.attributes(try body())
      let target = try versioned(uri, last)
      let secret = try await asked { () async throws(KeyCustodyError) in
        try await vaults.updateSecret(target, attributes, as: caller, context: context)
      }
      return WireResponse(.ok, SecretWire.bundle(secret))
    default: throw Self.unknown
    }
  }

  private func versioned(_ uri: SecretURI, _ text: String?) throws(WireError) -> SecretURI {
    guard let text else { return uri }
    return uri.with(version: try version(text, of: "secret"))
  }

  private func setSecret(_ uri: SecretURI) async throws(WireError) -> WireResponse {
    let body = try body()
    let attributes = try SecretWire.attributes(body)
    let value = try body.requiredText("value")
    guard value.utf8.count <= Vaults.largestSecret else {
      throw .badParameter("The value of a secret has at most \(Vaults.largestSecret) bytes.")
    }
    let secret = try await asked { () async throws(KeyCustodyError) in
      try await vaults.setSecret(
        SecretBytes(copying: Array(value.utf8)), at: uri, attributes: attributes, as: caller, context: context)
    }
    return WireResponse(.ok, SecretWire.bundle(secret, value: value))
  }

  private func showSecret(_ uri: SecretURI) async throws(WireError) -> WireResponse {
    do throws(KeyCustodyError) {
      let found = try await vaults.secret(uri, as: caller, context: context)
      // Into the answer's text, which no care of ours can clear.
      let value = found.value.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
      return WireResponse(.ok, SecretWire.bundle(found.bundle, value: String(decoding: value, as: UTF8.self)))
    } catch { throw WireError(stored: error) }
  }

  // MARK: Deleted secrets

  /// `/deletedsecrets…`.
  func deletedSecrets(_ segments: [String]) async throws(WireError) -> WireResponse {
    if request.method == .get, segments.isEmpty {
      let (after, limit) = (after, try limit())
      let found = try await asked { () async throws(KeyCustodyError) in
        try await vaults.listDeletedSecrets(in: vault, after: after, limit: limit, as: caller, context: context)
      }
      return page(found, at: "deletedsecrets", SecretWire.deletedItem)
    }
    guard let first = segments.first else { throw Self.unknown }
    let uri = vaults.secretURI(vault, try name(first))
    switch (request.method, segments.count) {
    case (.get, 1):
      let deleted = try await asked { () async throws(KeyCustodyError) in
        try await vaults.deletedSecret(uri, as: caller, context: context)
      }
      return WireResponse(.ok, SecretWire.deleted(deleted))
    case (.delete, 1):
      try await asked { () async throws(KeyCustodyError) in
        try await vaults.purgeSecret(uri, as: caller, context: context)
      }
      return Self.done
    case (.post, 2) where segments[1].lowercased() == "recover":
      let secret = try await asked { () async throws(KeyCustodyError) in
        try await vaults.recoverSecret(uri, as: caller, context: context)
      }
      return WireResponse(.ok, SecretWire.bundle(secret))
    default: throw Self.unknown
    }
  }
}
