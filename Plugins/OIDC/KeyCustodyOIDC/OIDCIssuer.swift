public import KeyCustody

/// An issuer outside this deployment, and on what terms its tokens are believed.
public struct OIDCIssuer: Sendable {
  /// The issuer's name, as its tokens and its discovery document write it: an https URL.
  ///
  /// On a loopback address it may be http, for development.
  public let issuer: String
  /// The algorithms that tokens may be signed with.
  public let algorithms: Set<SignatureAlgorithm>
  /// A PEM file of the certificate authorities to trust for this issuer; the system's where `nil`.
  public let caFile: String?
  /// A file with the issuer's key set (JWKS); where given, nothing is asked over a network.
  public let keySetFile: String?
  /// How long keys are used after they were fetched while the issuer can't be reached.
  public let keepKeys: Duration

  /// The algorithms unless told otherwise.
  public static let usualAlgorithms: Set<SignatureAlgorithm> = [.rs256, .ps256, .es256]
  /// How long keys may be kept: no less, so that an outage of the issuer is not one of ours; no more, so that what the
  /// issuer withdraws ends.
  static let keepingBounds = 600...604_800

  /// An issuer.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`).
  public init(
    _ issuer: String, algorithms: Set<SignatureAlgorithm> = usualAlgorithms, caFile: String? = nil,
    keySetFile: String? = nil, keepKeys: Duration = .seconds(86400)
  ) throws(KeyCustodyError) {
    guard IssuerAddress.isFetchable(issuer, orLoopback: true), !issuer.contains("?") else {
      throw Self.badValue(
        "The issuer '\(issuer.prefix(100).filter(\.isASCII))' is not an https URL.",
        "Write it as its discovery document does, like https://login.example/TENANT, without query and fragment.")
    }
    guard !algorithms.isEmpty else {
      throw Self.badValue("No algorithm is allowed for tokens.", "List one at least, like RS256.")
    }
    guard caFile == nil || keySetFile == nil else {
      throw Self.badValue(
        "Certificate authorities are given for an issuer whose keys come from a file.", "Keep one of the two files.")
    }
    guard Self.keepingBounds.contains(Int(clamping: keepKeys.components.seconds)) else {
      throw Self.badValue("Keys can't be kept for \(keepKeys).", "Keep them for 600 to 604800 seconds.")
    }
    self.issuer = issuer
    self.algorithms = algorithms
    self.caFile = caFile
    self.keySetFile = keySetFile
    self.keepKeys = keepKeys
  }

  private static func badValue(_ message: String, _ remedy: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .badConfigurationValue, message, remedy: remedy)
  }
}
