import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

extension KeyCustody {
  /// Tells the vaults which resources need a key, for whoever asks before disabling or deleting it.
  func reportDependents() {
    vaults.addDependents { [weak self] (uri) async throws(KeyCustodyError) -> [KeyDependent] in
      try await self?.dependents(of: uri) ?? []
    }
  }

  /// Every resource with a root key that the key wraps, each once for a version.
  private func dependents(of uri: KeyURI) async throws(KeyCustodyError) -> [KeyDependent] {
    var found: Set<KeyDependent> = []
    for (_, record) in try await resources.all(prefix: "resources/") {
      for key in record.rootKeys where key.kek.with(version: nil) == uri.with(version: nil) {
        guard uri.version == nil || key.kek.version == uri.version else { continue }
        let use = "\(key.layer.rawValue) layer" + (key.isPrimary ? "" : ", older data")
        found.insert(KeyDependent(resource: record.id, key: key.kek, use: use))
      }
    }
    return Array(found)
  }
}
