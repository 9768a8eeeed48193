/// Where keys live and do their work.
///
/// Key material never leaves a provider.
///
/// ## Implementing a provider
/// A provider is custody and nothing else. It keeps immutable key *versions*, each named by a ``KeyVersionID`` that the
/// caller chose, and wraps, unwraps and signs with them. It does not know current versions, enabled or expired keys,
/// soft delete, permissions, caches, retries or audit: those live once, above it.
///
/// - Any task may call any method at any time, concurrently. No method may block a thread of Swift's cooperative pool:
///   put blocking C or file work on a ``DedicatedThread``, for instance through ``BlockingWorker``.
/// - ``identity`` is read from the backend itself (a token's serial number, an identifier in the store), so that the
///   same keys keep their identity when the configuration names them differently, and other keys never take it over.
/// - ``capabilities`` says what was *run* on this backend when it was opened. What it does not offer is refused with
///   `unsupported` before the backend is touched: call ``KeyProviderCapabilities/require(_:)`` first.
/// - Say `notFound` only when the key's absence is confirmed. A backend that can't be asked is `unavailable`.
/// - Never repeat a refused PIN or passphrase: `credentialRejected`, once, and stop.
/// - Throw only ``KeyCustodyError``; native codes go into its `diagnostic`. No secret goes into any text.
///
/// Run `KeyCustodyTesting` over it: its behaviours are this contract in executable form.
public protocol KeyProvider: Sendable {
  /// What kind of backend this is, and which one of its kind.
  var identity: ProviderIdentity { get }

  /// What this backend offers, as found at opening.
  var capabilities: KeyProviderCapabilities { get }

  /// Makes a key version inside the provider.
  ///
  /// - Throws: `unsupported`; `invalidInput` (`already-exists`) when the version's name is taken, and then nothing is
  ///   changed; `unavailable`, `busy`, `timeout`.
  func generate(_ request: GenerateKeyRequest, context: CallContext) async throws(KeyCustodyError) -> KeyDescription

  /// Brings key material in from outside.
  ///
  /// - Parameter material: PKCS#8 DER (`PrivateKeyInfo`, RFC 5958) for RSA and EC, the bare bytes for AES.
  /// - Throws: as ``generate(_:context:)``; `invalidInput` (`malformed`, `wrong-key-type`) for material that is not a
  ///   sound key of the type asked for.
  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription

  /// Tells what may be known of a key version.
  ///
  /// - Throws: `notFound` (`key-version-unknown`), only when absence is confirmed.
  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription

  /// Destroys a key version for good.
  ///
  /// - Throws: `notFound` when it is not there.
  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError)

  /// Wraps a short secret (16 to 64 bytes, as the algorithm allows).
  ///
  /// - Throws: `notFound`, `unsupported`; `invalidInput` (`wrong-size`, `wrong-key-type`).
  func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret

  /// Unwraps what ``wrap(_:with:)``, or anyone holding the public key, wrapped.
  ///
  /// Every failure to unwrap that depends on the bytes is one and the same error (a finer answer is an oracle).
  /// - Throws: `notFound`, `unsupported`; `invalidInput` (`wrong-key-type`) for a key of another role or type;
  ///   `integrityFailure` (`not-authentic`).
  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes

  /// Signs a digest; an ECDSA signature is r ‖ s.
  ///
  /// - Throws: `notFound`, `unsupported`; `invalidInput` (`wrong-size`) for a digest of another length,
  ///   (`wrong-key-type`) for a key that does not fit.
  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8]

  /// Checks that the backend works: that it answers and, where a version is given, a real wrap and unwrap with it.
  ///
  /// - Throws: what stopped it.
  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError)

  /// What happens to the backend from now on. Each call gives a stream of its own; slow readers lose the oldest.
  func events() -> AsyncStream<KeyProviderEvent>

  /// Ends all use, clears key material from memory. Calls after it throw `unavailable` (`closed`).
  func close() async

  /// Lists the key versions there are, where the backend can.
  var inventory: (any KeyInventory)? { get }

  /// Backups that only this backend restores, where it can make them.
  var backup: (any KeyBackup)? { get }
}

extension KeyProvider {
  /// Absent unless a provider says otherwise.
  public var inventory: (any KeyInventory)? { nil }
  /// Absent unless a provider says otherwise.
  public var backup: (any KeyBackup)? { nil }
}

/// The ability of a provider to list its key versions.
public protocol KeyInventory: Sendable {
  /// Up to `limit` versions after `version`, ordered by name.
  func versions(after version: KeyVersionID?, limit: Int) async throws(KeyCustodyError) -> [KeyVersionID]

  /// What processes that were killed left half made or half destroyed: no key, but for a person to know and remove.
  func leftovers() async throws(KeyCustodyError) -> [KeyLeftover]
}

extension KeyInventory {
  /// Nothing, unless a provider knows of some.
  public func leftovers() async throws(KeyCustodyError) -> [KeyLeftover] { [] }
}

/// Something in a backend that is neither a key nor nothing.
public struct KeyLeftover: Sendable, Hashable {
  /// What it is.
  public let what: String
  /// The key version whose name it carries, if any.
  public let version: KeyVersionID?
  /// How to get rid of it.
  public let remedy: String
  /// Describes a leftover.
  public init(what: String, version: KeyVersionID?, remedy: String) {
    self.what = what
    self.version = version
    self.remedy = remedy
  }
}

/// The ability of a provider to back up a key version in a form that only the same backend restores.
public protocol KeyBackup: Sendable {
  /// An opaque, encrypted blob.
  func backUp(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> [UInt8]
  /// Brings a blob back.
  func restore(_ blob: [UInt8], context: CallContext) async throws(KeyCustodyError) -> KeyDescription
}

/// What kind of backend, and which one of its kind.
public struct ProviderIdentity: Sendable, Hashable, Codable, CustomStringConvertible {
  /// The plugin: `memory`, `file`, `pkcs11`, or a third party's.
  public let kind: String
  /// What the backend says of itself: a store's UUID, a token's manufacturer, model and serial number.
  public let instance: String
  /// Names a backend.
  public init(kind: String, instance: String) {
    self.kind = kind
    self.instance = instance
  }
  /// `kind:instance`.
  public var description: String { "\(kind):\(instance)" }
}

/// What key version to make.
public struct GenerateKeyRequest: Sendable {
  /// Its name, chosen by the caller.
  public var version: KeyVersionID
  /// Type and size.
  public var type: KeyType
  /// What it may be used for.
  public var role: KeyRole
  /// A text for people, at most 128 bytes of it kept.
  public var label: String
  /// Whether a backup must be possible.
  ///
  /// Such a key is extractable in the token's terms; a token that can't refuses.
  public var backupable: Bool
  /// Asks for a key version.
  public init(version: KeyVersionID, type: KeyType, role: KeyRole, label: String = "", backupable: Bool = false) {
    self.version = version
    self.type = type
    self.role = role
    self.label = label
    self.backupable = backupable
  }

  /// Refuses a role that the type can't play (EC does not wrap, AES does not sign, RSA alone does both).
  ///
  /// - Throws: `invalidInput` (`wrong-key-type`).
  public func validate() throws(KeyCustodyError) {
    guard type.roles.contains(role) else {
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "A key of type \(type) can't be a \(role.rawValue) key.",
        remedy: "Wrapping keys are RSA or AES, signing keys RSA or EC, general keys RSA.")
    }
  }
}

/// With what to wrap or unwrap, and for whom.
public struct WrapRequest: Sendable {
  /// The key version.
  public var version: KeyVersionID
  /// The algorithm.
  public var algorithm: WrapAlgorithm
  /// Who asks, and for what.
  public var context: CallContext
  /// Asks for a wrap or unwrap.
  public init(version: KeyVersionID, algorithm: WrapAlgorithm, context: CallContext) {
    self.version = version
    self.algorithm = algorithm
    self.context = context
  }
}

/// A wrapped secret, and what was really used to wrap it.
public struct WrappedSecret: Sendable, Hashable {
  /// The version used.
  public var version: KeyVersionID
  /// The algorithm used.
  public var algorithm: WrapAlgorithm
  /// The wrapped bytes.
  public var bytes: [UInt8]
  /// An answer of a provider.
  public init(version: KeyVersionID, algorithm: WrapAlgorithm, bytes: [UInt8]) {
    self.version = version
    self.algorithm = algorithm
    self.bytes = bytes
  }
}

/// With what to sign, and for whom.
public struct SignRequest: Sendable {
  /// The key version.
  public var version: KeyVersionID
  /// The algorithm.
  public var algorithm: SignatureAlgorithm
  /// Who asks, and for what.
  public var context: CallContext
  /// Asks for a signature.
  public init(version: KeyVersionID, algorithm: SignatureAlgorithm, context: CallContext) {
    self.version = version
    self.algorithm = algorithm
    self.context = context
  }
}

/// Something that happened to a backend.
public enum KeyProviderEvent: Sendable, Hashable {
  /// It stopped answering; keys are out of reach, not gone.
  case unavailable(reason: String)
  /// It answers again.
  case available
  /// A key version is confirmed gone.
  case keyGone(KeyVersionID)
}
