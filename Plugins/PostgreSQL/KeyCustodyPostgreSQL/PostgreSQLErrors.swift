import KeyCustody

/// How an exchange with the server failed.
enum ServerFailure: Error {
  /// The server refused a statement, by its SQLSTATE; the connection lives.
  case refused(String, message: String)
  /// The connection is gone; what was sent may have been done.
  case lost(String)
  /// No answer in time; what was sent may be done yet.
  case late

  /// Whether the same transaction may go through when it is tried again: others were in its way.
  ///
  /// Of those who make one table at once most are told that it is there (42P07), some that its row type is (42710) or
  /// that the catalogue has a row like it (23505), whichever they come to first.
  var isCollision: Bool {
    if case .refused(let state, _) = self {
      ["40001", "40P01", "23505", "42P06", "42P07", "42710"].contains(state)
    } else {
      false
    }
  }
}

extension KeyCustodyError {
  /// What a failure means where it is sure that nothing was done.
  init(_ failure: ServerFailure, _ place: String) {
    switch failure {
    case .lost(let words):
      self = .serverUnreachable(place, "The connection was lost.", words)
    case .late:
      self.init(
        .timeout, .deadline, "The database '\(place)' did not answer in time.",
        remedy: "Look at its load and locks (pg_stat_activity), or raise 'timeout'.")
    case .refused(let state, let words):
      self.init(refusal: state, "SQLSTATE \(state) \(words)", place)
    }
  }

  /// What a refusal of the server's means, and what can be done about it.
  init(refusal state: String, _ diagnostic: String, _ place: String) {
    switch state {
    case "28P01":
      self = .passwordRefused(place, diagnostic)
    case "28000":
      self = .serverUnreachable(
        place, "The server lets this user in from here by no rule.", diagnostic,
        remedy: "Its administrator can change that: a line in pg_hba.conf, and LOGIN for the user.")
    case "25006":
      self.init(
        .unavailable, .readOnly, "The database '\(place)' can't be written: it is read-only.",
        remedy: "Where it is a standby, give 'url' the primary, or all hosts and target_session_attrs=read-write.",
        diagnostic: diagnostic)
    case "53100":
      self.init(
        .unavailable, .noSpace, "There is no room for the database '\(place)': its disk is full.",
        remedy: "Free some space on the server.", diagnostic: diagnostic)
    case "53300":
      self.init(
        .busy, .connections, "The database '\(place)' takes no further connection.",
        remedy: "Raise max_connections there, or lower 'connections' here.", retryAfter: .seconds(1),
        diagnostic: diagnostic)
    case "57014", "55P03", "40001", "40P01", "25P03":
      self.init(
        .busy, .locked, "Others have the records of the database '\(place)' locked.",
        remedy: "Look at who holds a lock for long (pg_stat_activity).", retryAfter: .milliseconds(200),
        diagnostic: diagnostic)
    case "42501":
      self.init(
        .unavailable, .unreachable, "The user may not use the tables of '\(place)'.",
        remedy: "Its owner can change that: GRANT ALL ON SCHEMA, and ON ALL TABLES IN SCHEMA, to the user.",
        diagnostic: diagnostic)
    case "3D000":
      self = .serverUnreachable(place, "There is no such database.", diagnostic, remedy: "Make it: createdb NAME.")
    case "XX001", "XX002", "22021", "42P01", "42703", "3F000", "42804":
      // Our statements are right for a sound store, so these are damage, of the tables or of what they are made of.
      self = .damagedStore(place, "the server can't read its tables", diagnostic: diagnostic)
    case _ where state.hasPrefix("57") || state.hasPrefix("08") || state.hasPrefix("53") || state.hasPrefix("58"):
      self = .serverUnreachable(place, "The server is not at work.", diagnostic)
    default:
      self.init(.fault, .internalFault, "The database '\(place)' refused to work.", diagnostic: diagnostic)
    }
  }

  /// A server that can't be reached now.
  static func serverUnreachable(
    _ place: String, _ what: String, _ diagnostic: String?,
    remedy: String = "Check that the server runs and can be reached (pg_isready).",
    retryAfter: Duration? = .milliseconds(100)
  ) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "The database '\(place)' can't be used. \(what)", remedy: remedy,
      retryAfter: retryAfter, diagnostic: diagnostic)
  }

  /// A password, or another proof of who we are, that was refused.
  static func passwordRefused(_ place: String, _ diagnostic: String?) -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, .wrongSecret, "The database '\(place)' refused the user or the password.",
      remedy:
        "Put the right password into the file that 'passwordFile' names; it is shown once, and again when it is changed.",
      diagnostic: diagnostic)
  }

  /// A user who showed a password and was not let in, for whatever reason.
  static func loginRefused(_ place: String, _ diagnostic: String?) -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, loginRefused, "The database '\(place)' does not let this user in.",
      remedy:
        "Put the right password into the file that 'passwordFile' names; or have the server's administrator look at LOGIN of "
        + "the user, at pg_hba.conf, and at what checks passwords. The password is shown again after a minute, later after an hour.",
      diagnostic: diagnostic)
  }

  /// A login that was refused for another reason than the password, perhaps.
  static let loginRefused = Reason("login-refused")

  /// A store that is not what was written.
  static func damagedStore(_ place: String, _ what: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The store in the database '\(place)' is damaged: \(what).",
      remedy: "Restore it from a backup.", diagnostic: diagnostic)
  }

  /// A record that is not what was written.
  static func damagedRecord(_ key: RecordKey, _ place: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, "The record '\(key)' of the database '\(place)' is damaged.",
      remedy: "Restore the database from a backup.")
  }

  /// A row of sealed data that is not what was written.
  static func damagedRow(_ name: String, _ resource: ResourceID, _ place: String) -> KeyCustodyError {
    let shown = String(
      name.unicodeScalars.prefix(100).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) })
    return KeyCustodyError(
      .integrityFailure, .damaged, "The item '\(shown)' of '\(resource)' in the database '\(place)' is damaged.",
      remedy: "Restore the database from a backup, or remove the item.")
  }

  /// A change of which it is not known whether it was made.
  static func notConfirmed(_ place: String, _ cause: String) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .notConfirmed, "The database '\(place)' did not confirm a change; whether it was made is unknown.",
      remedy: "Read what is there before trying again.", diagnostic: cause)
  }

  /// More calls wait than may.
  static func queueFull(_ place: String, _ limit: Int) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .queue, "\(limit) calls wait for the database '\(place)' already.",
      remedy: "Try again later; raise 'connections' or 'queue' where the server can do more.",
      retryAfter: .milliseconds(100))
  }

  /// What is said of a store that was closed.
  static func closedStore(_ place: String) -> KeyCustodyError {
    KeyCustodyError(.unavailable, .closed, "The store in the database '\(place)' was closed.")
  }
}

extension KeyCustodyError.Reason {
  /// The server has no connection left.
  static let connections = Self("connections")
  /// Too many wait.
  static let queue = Self("queue-full")
}
