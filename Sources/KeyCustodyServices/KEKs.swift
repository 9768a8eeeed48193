import KeyCustody
import KeyCustodyVault
import Synchronization

/// A KEK as its holder may use it: asked about once, for all root keys of a step.
struct KEK: Sendable {
  /// With the version.
  let uri: KeyURI
  /// How it wraps best; `nil` where it wraps by nothing that is known here.
  let algorithm: WrapAlgorithm?
  let holder: PrincipalID
  let isCustomerManaged: Bool
  /// `nil` for one that is in no vault of this deployment: its owner is asked at each use.
  let allowed: AllowedKey?
}

/// KEKs for the work of a moment on many root keys.
///
/// Whether a KEK may be used is asked anew after a second, and never counts for longer than a lease would.
final class KEKs: Sendable {
  private struct Name: Hashable {
    let uri: KeyURI
    let holder: PrincipalID
    let isForWrapping: Bool
  }
  private let known = Mutex<[Name: (kek: KEK, asked: Duration)]>([:])
  private let custody: KeyCustody
  private let lifetime: Duration

  init(_ custody: KeyCustody) {
    self.custody = custody
    lifetime = min(.seconds(1), custody.leases.duration)
  }

  /// A KEK to wrap root keys under, and to unwrap them again as proof.
  func wrapping(
    _ uri: KeyURI, holder: PrincipalID, isCustomerManaged: Bool, context: CallContext
  ) async throws(KeyCustodyError) -> KEK {
    try await find(Name(uri: uri, holder: holder, isForWrapping: true), isCustomerManaged, context)
  }

  /// The KEK that a root key is under.
  func unwrapping(_ record: RootKeyRecord, context: CallContext) async throws(KeyCustodyError) -> KEK {
    let name = Name(uri: record.kek, holder: record.holder, isForWrapping: false)
    return try await find(name, record.isCustomerManaged, context)
  }

  private func find(
    _ name: Name, _ isCustomerManaged: Bool, _ context: CallContext
  ) async throws(KeyCustodyError) -> KEK {
    let now = custody.environment.time.running()
    if let (kek, asked) = known.withLock({ $0[name] }), now < asked + lifetime { return kek }
    let kek = try await ask(name, isCustomerManaged, context)
    known.withLock { $0[name] = (kek, now) }
    return kek
  }

  private func ask(
    _ name: Name, _ isCustomerManaged: Bool, _ context: CallContext
  ) async throws(KeyCustodyError) -> KEK {
    if custody.elsewhere(name.uri, for: name.holder.tenant) != nil {
      var (uri, algorithm) = (name.uri, WrapAlgorithm?.none)
      if name.isForWrapping {
        let key = try await custody.customerKey(uri, as: name.holder, context: context)
        (uri, algorithm) = (key.uri, key.algorithms.first)
      }
      return KEK(
        uri: uri, algorithm: algorithm, holder: name.holder, isCustomerManaged: isCustomerManaged, allowed: nil)
    }
    let allowed = try await custody.vaults.allow(
      name.isForWrapping ? [.wrapKey, .unwrapKey] : [.unwrapKey], of: name.uri,
      validity: isCustomerManaged ? .strict : .wire, as: try await custody.principal(name.holder), context: context)
    return KEK(
      uri: allowed.uri, algorithm: allowed.algorithm, holder: name.holder, isCustomerManaged: isCustomerManaged,
      allowed: allowed)
  }
}
