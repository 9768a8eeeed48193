import KeyCustody
import KeyCustodyVault
import Synchronization

/// A KEK, and whose it is.
struct KEK: Sendable {
  /// With the version.
  let uri: KeyURI
  /// How it wraps; `nil` where it wraps by nothing that is known here.
  let algorithm: WrapAlgorithm?
  let holder: PrincipalID
  let isCustomerManaged: Bool
  /// The service's own, allowed for a moment; `nil` for a customer's, for which its owner is asked at each use.
  let allowed: AllowedKey?
}

extension KEK {
  /// The one that a root key is under, about which its owner is asked at each use.
  init(of record: RootKeyRecord) {
    self.init(
      uri: record.kek, algorithm: record.algorithm, holder: record.holder, isCustomerManaged: record.isCustomerManaged,
      allowed: nil)
  }
}

/// KEKs for the work of a moment on many root keys.
///
/// Whether the service may use its own is asked anew after a second, and the answer is never taken for longer than a lease
/// would last.
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
    guard isCustomerManaged else {
      return try await own(Name(uri: uri, holder: holder, isForWrapping: true), context)
    }
    let key = try await custody.customerKey(uri, as: holder, context: context)
    return KEK(
      uri: key.uri, algorithm: key.algorithms.first, holder: holder, isCustomerManaged: true, allowed: nil)
  }

  /// The KEK that a root key is under.
  func unwrapping(_ record: RootKeyRecord, context: CallContext) async throws(KeyCustodyError) -> KEK {
    guard record.isCustomerManaged else {
      return try await own(Name(uri: record.kek, holder: record.holder, isForWrapping: false), context)
    }
    return KEK(of: record)
  }

  private func own(_ name: Name, _ context: CallContext) async throws(KeyCustodyError) -> KEK {
    let now = custody.environment.time.running()
    if let (kek, asked) = known.withLock({ $0[name] }), now < asked + lifetime { return kek }
    let allowed = try await custody.vaults.allow(
      name.isForWrapping ? [.wrapKey, .unwrapKey] : [.unwrapKey], of: name.uri,
      as: try await custody.principal(name.holder), context: context)
    let kek = KEK(
      uri: allowed.uri, algorithm: allowed.algorithm, holder: name.holder, isCustomerManaged: false,
      allowed: allowed)
    known.withLock { $0[name] = (kek, now) }
    return kek
  }
}
