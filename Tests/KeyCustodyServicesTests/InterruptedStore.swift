import KeyCustody
import KeyCustodyServices
import Synchronization

/// A store that goes away at the Nth renewal, before or after it is done.
final class InterruptedStore: SealedStore {
  private let inner: any SealedStore
  private let failing: Int
  private let isAfter: Bool
  private let renewals = Mutex(0)

  init(_ inner: any SealedStore, failing: Int, after isAfter: Bool = false) {
    self.inner = inner
    self.failing = failing
    self.isAfter = isAfter
  }

  /// Whether the failing renewal was reached.
  var isReached: Bool { renewals.withLock { $0 >= failing } }

  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await inner.items(of: resource, after: object, limit: limit)
  }

  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let number = renewals.withLock { renewals in
      renewals += 1
      return renewals
    }
    if number == failing && !isAfter { throw down }
    try await inner.renew(item, renewal)
    if number == failing { throw down }
  }
}
