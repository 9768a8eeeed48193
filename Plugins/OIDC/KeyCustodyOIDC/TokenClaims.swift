import KeyCustody

/// The claims of a token (JWT, RFC 7519, section 4.1), read before its signature was checked.
struct TokenClaims: Sendable {
  let issuer: String
  let subject: String
  let audiences: [String]
  let expires: Timestamp
  private let notBefore: Timestamp?
  private let issuedAt: Timestamp?
  /// All of them.
  let members: JSON.Object

  /// How far another machine's clock may be ahead of ours.
  static let leeway = Duration.seconds(60)
  /// How long a token may live.
  static let longestLife = Duration.seconds(86400)

  /// Reads claims; `nil` when one that must be there is not, or one is of the wrong form.
  init?(_ payload: [UInt8]) {
    guard let members = (try? JSON(payload))?.object,
      let issuer = members["iss"]?.string, let subject = members["sub"]?.string,
      (1...255).contains(subject.utf8.count), let audiences = Self.texts(members["aud"]),
      case .some(.some(let expires)) = Self.moment(members["exp"]),
      let notBefore = Self.moment(members["nbf"]), let issuedAt = Self.moment(members["iat"])
    else { return nil }
    self.issuer = issuer
    self.subject = subject
    self.audiences = audiences
    self.expires = expires
    self.notBefore = notBefore
    self.issuedAt = issuedAt
    self.members = members
  }

  /// Whether they are of this issuer, for one of these audiences, and hold at this moment.
  func hold(issuer: String, audiences accepted: [String], at now: Timestamp) -> Bool {
    guard self.issuer.utf8.elementsEqual(issuer.utf8),
      audiences.contains(where: { named in accepted.contains { $0.utf8.elementsEqual(named.utf8) } })
    else { return false }
    let latest = now + Self.leeway
    guard now < expires, expires <= latest + Self.longestLife, notBefore ?? now <= latest, issuedAt ?? now <= latest
    else { return false }
    guard let begin = issuedAt ?? notBefore else { return true }
    return begin < expires && expires <= begin + Self.longestLife
  }

  /// One text, or several.
  private static func texts(_ value: JSON?) -> [String]? {
    if let text = value?.string { return [text] }
    guard let values = value?.array else { return nil }
    let texts = values.compactMap(\.string)
    return texts.count == values.count ? texts : nil
  }

  /// Seconds since 1970, whole or not: `.some(nil)` when absent, `nil` when it is none or beyond the year 9999.
  private static func moment(_ value: JSON?) -> Timestamp?? {
    let bounds = 0...253_402_300_799.0
    switch value {
    case nil: return .some(nil)
    case .integer(let seconds) where bounds.contains(Double(seconds)): return Timestamp(seconds: seconds)
    case .number(let seconds) where bounds.contains(seconds):
      return Timestamp(milliseconds: Int64((seconds * 1000).rounded(.down)))
    default: return nil
    }
  }
}
