/// What a provider offers on this very backend, and how that is known.
public struct KeyProviderCapabilities: Sendable {
  /// Something a provider may or may not offer.
  public enum Ability: Sendable, Hashable, CustomStringConvertible {
    /// Making keys of a type.
    case generate(KeyType)
    /// Bringing in keys of a type.
    case importing(KeyType)
    /// Wrapping by an algorithm.
    case wrap(WrapAlgorithm)
    /// Unwrapping by an algorithm.
    case unwrap(WrapAlgorithm)
    /// Signing by an algorithm.
    case sign(SignatureAlgorithm)
    /// Backup and restore.
    case backup

    /// `unwrap RSA-OAEP`, for instance.
    public var description: String {
      switch self {
      case .generate(let type): "generate \(type)"
      case .importing(let type): "import \(type)"
      case .wrap(let algorithm): "wrap \(algorithm)"
      case .unwrap(let algorithm): "unwrap \(algorithm)"
      case .sign(let algorithm): "sign \(algorithm.rawValue)"
      case .backup: "backup"
      }
    }
  }

  /// How it is known that an ability is there, or that it is not.
  public enum Evidence: Sendable, Hashable {
    /// It was run on this backend when it was opened.
    case probed
    /// The backend gives the parts and the host does the rest (where the configuration allows that).
    case emulated(how: String)
    /// The backend says so; it was not run.
    case declared
    /// It is not offered.
    case absent(why: String)

    /// Whether the ability is offered.
    public var isOffered: Bool { if case .absent = self { false } else { true } }
    /// One word: `probed`, `emulated`, `declared`, `absent`.
    public var word: String {
      switch self {
      case .probed: "probed"
      case .emulated: "emulated"
      case .declared: "declared"
      case .absent: "absent"
      }
    }
    /// What more there is to say.
    public var detail: String {
      switch self {
      case .probed, .declared: ""
      case .emulated(let how): how
      case .absent(let why): why
      }
    }
  }

  /// What was found, by ability.
  ///
  /// What is not listed is not offered.
  public let findings: [Ability: Evidence]

  /// States what was found.
  public init(_ findings: [Ability: Evidence]) { self.findings = findings }

  /// Whether an ability is offered.
  public func offers(_ ability: Ability) -> Bool { findings[ability]?.isOffered ?? false }

  /// Refuses what is not offered.
  ///
  /// - Throws: `unsupported` (`not-offered`).
  public func require(_ ability: Ability) throws(KeyCustodyError) {
    guard !offers(ability) else { return }
    let why = findings[ability]?.detail ?? ""
    throw KeyCustodyError(
      .unsupported, .notOffered, "This key provider does not offer '\(ability)'\(why.isEmpty ? "" : ": \(why)").",
      remedy: "'keycustody doctor' lists what it offers.")
  }

  /// The preferred wrap algorithm for a key type among those that this backend can unwrap.
  public func preferredWrapAlgorithm(for type: KeyType) -> WrapAlgorithm? {
    WrapAlgorithm.fitting(type).first { offers(.unwrap($0)) }
  }
}
