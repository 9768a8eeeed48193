/// Remembers all that is neither key material nor customer data: vaults, access policies, key life, directory records,
/// resource bindings, wrapped keysets.
///
/// ## Implementing a store
/// A store holds small records (at most ``PolicyStoreLimits/valueSize``) under textual keys, each with the *revision*
/// of the store at which it was last written. Revisions grow with every change, across reopening too.
///
/// - A change that was answered with `.stored` survives a crash of the process and, where the backend is durable, of
///   the machine. A change that failed with an error may or may not have happened (`timeout`) or did not.
/// - ``compareAndSet(_:expecting:value:)`` and ``delete(_:expecting:)`` are atomic: of several callers expecting the
///   same revision exactly one wins, the others get `.conflict` with what is there now.
/// - A record that is damaged is an error that names it (`integrityFailure`, `damaged`); it is never left out silently.
/// - Any task may call any method at any time. Blocking work belongs on a ``DedicatedThread``.
public protocol PolicyStore: Sendable {
  /// What kind of backend this is, and which one of its kind.
  var identity: ProviderIdentity { get }

  /// Whether others may change its records while it is open here: another process, or another opening in this one.
  ///
  /// What is shared is watched, and the end of a root key waits for leases elsewhere.
  var isShared: Bool { get }

  /// Reads a record; `nil` when there is none.
  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord?

  /// Writes a record if the store still holds the revision expected.
  ///
  /// - Parameter revision: the revision last seen, or `nil` for "there is none yet".
  /// - Throws: `invalidInput` (`wrong-size`) for a value over the limit.
  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome

  /// Removes a record if the store still holds the revision expected.
  func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome

  /// Up to `limit` records whose keys begin with `prefix`, in byte order of their keys, after `key`.
  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord]

  /// Changes after a revision, in order; intermediate states of one record may be left out.
  ///
  /// Begins with ``StoreChange/resynchronize(_:)`` when the store no longer knows what was deleted since then.
  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange>

  /// The newest revision.
  func currentRevision() async throws(KeyCustodyError) -> StoreRevision

  /// Ends all use. Calls after it throw `unavailable` (`closed`); streams end.
  func close() async
}

extension PolicyStore {
  /// Shared, unless a store says that it holds its records for itself.
  public var isShared: Bool { true }
}

/// How far a store's history has come.
public struct StoreRevision: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
  /// Grows with every change.
  public let number: UInt64
  /// A revision.
  public init(_ number: UInt64) { self.number = number }
  /// Before the first change.
  public static let zero = Self(0)
  /// Earlier before later.
  public static func < (left: Self, right: Self) -> Bool { left.number < right.number }
  /// The number.
  public var description: String { String(number) }
}

/// Names a record: segments of `0-9 a-z A-Z . _ - ~`, divided by `/`; at most 400 bytes, compared exactly.
public struct RecordKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The text.
  public let description: String
  /// Takes a key that fits the allow-list.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    guard text.utf8.count <= 400, Self.fits(text) else {
      throw KeyCustodyError(.invalidInput, .badName, "That is not the name of a record.")
    }
    description = text
  }

  /// Whether every segment has 1 to 200 letters of the allow-list, and not dots alone.
  private static func fits(_ text: String) -> Bool {
    var length = 0
    var isDots = true
    for byte in text.utf8 {
      if byte == UInt8(ascii: "/") {
        guard length > 0, !isDots else { return false }
        (length, isDots) = (0, true)
        continue
      }
      length += 1
      isDots = isDots && byte == UInt8(ascii: ".")
      guard length <= 200, byte.isASCIIAlphanumeric || byte == 0x2e || byte == 0x5f || byte == 0x2d || byte == 0x7e
      else { return false }
    }
    return length > 0 && !isDots
  }

  /// Ordered by bytes.
  public static func < (left: Self, right: Self) -> Bool {
    left.description.utf8.lexicographicallyPrecedes(right.description.utf8)
  }
}

/// A record and the revision at which it was last written.
public struct PolicyRecord: Sendable, Hashable {
  /// Its name.
  public let key: RecordKey
  /// When it was last written.
  public let revision: StoreRevision
  /// Its content.
  public let value: [UInt8]
  /// A record as a store found it.
  public init(key: RecordKey, revision: StoreRevision, value: [UInt8]) {
    self.key = key
    self.revision = revision
    self.value = value
  }
}

/// What became of a conditional change.
public enum StoreOutcome: Sendable, Hashable {
  /// Done, at this revision.
  case stored(StoreRevision)
  /// Not done: this is there instead (`nil`: nothing).
  case conflict(PolicyRecord?)
}

/// One change of a store.
public enum StoreChange: Sendable, Hashable {
  /// A record was written.
  case put(PolicyRecord)
  /// A record was removed.
  case deleted(RecordKey, StoreRevision)
  /// Deletions may have been missed up to this revision: read again what matters.
  case resynchronize(StoreRevision)
}

/// What every store holds at least.
public enum PolicyStoreLimits {
  /// The largest value, in bytes.
  public static let valueSize = 256 << 10
  /// The most records that a `list` answers.
  public static let pageSize = 1000

  /// Refuses a value that is too large.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  public static func check(_ value: [UInt8]) throws(KeyCustodyError) {
    guard value.count <= valueSize else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A record of \(value.count) bytes is over the limit of \(valueSize).")
    }
  }
}
