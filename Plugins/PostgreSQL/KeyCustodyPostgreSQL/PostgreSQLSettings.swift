import CKeyCustodyPostgreSQL
package import KeyCustody

/// The settings of a store in PostgreSQL, read and checked before anything is touched.
package struct PostgreSQLSettings: Sendable {
  /// What libpq is told, without the password.
  package private(set) var parameters: [String: String]
  /// Where the password is read from.
  var password: SecretReference?
  /// Whose tables.
  let schema: String
  /// Whether to make the tables where there are none.
  let creates: Bool
  /// How many reads are done at once.
  let connections: Int
  /// How many reads, and how many changes, may wait.
  let queue: Int
  /// How long a call may take.
  let timeout: Duration
  /// Whether the server tells of changes.
  let notifies: Bool
  /// How often to look for changes without being told.
  let pollInterval: Duration
  /// The most deletions that are remembered.
  package var deletionLimit = 10_000
  let environment: RuntimeEnvironment

  /// The database and the schema in words, for messages.
  let place: String

  private static let sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

  /// Reads the settings of a section.
  package init(_ section: ConfigurationSection, _ environment: RuntimeEnvironment) throws(KeyCustodyError) {
    self.environment = environment
    let found = try Self.read(try section.requiredString("url"))
    password = try SecretReference("password", in: section, environment: environment)
    schema = try section.string("schema") ?? "key_custody"
    guard Self.isName(schema) else {
      throw Self.wrong("'schema' is not a name of up to 63 of a-z, 0-9 and _.", "Choose another name.")
    }
    creates = try section.boolean("create") ?? true
    connections = try section.integer("connections", in: 1...64) ?? 4
    queue = try section.integer("queue", in: 1...1_000_000) ?? 512
    timeout = .seconds(try section.integer("timeout", in: 1...600) ?? 5)
    notifies = try section.boolean("notifications") ?? true
    pollInterval = .milliseconds(try section.integer("pollMilliseconds", in: 10...60_000) ?? 1000)
    let mode = try section.string("sslmode")
    if let mode, !Self.sslModes.contains(mode) {
      throw Self.wrong("'sslmode' is none of libpq's.", "It may be: \(Self.sslModes.joined(separator: ", ")).")
    }
    let host = found["host"] ?? found["hostaddr"] ?? "the local socket"
    place = "\(found["dbname"] ?? found["user"] ?? "")' at '\(host)', schema '\(schema)"
    parameters = found
    parameters["sslmode"] = mode ?? found["sslmode"] ?? (Self.isLocal(found) ? "prefer" : "verify-full")
    complete()
  }

  /// Adds what every connection is to have.
  private mutating func complete() {
    let milliseconds = timeout.milliseconds
    // On the server's side too, so that what a client left behind holds no lock for longer than this.
    let settings = [
      "statement_timeout=\(milliseconds * 8 / 10)", "idle_in_transaction_session_timeout=\(milliseconds)",
    ]
    parameters["options", default: ""] += settings.map { " -c \($0)" }.joined()
    let fixed = [
      // No password of somebody else's file; there can't be one here, and libpq says nothing of that.
      "passfile": "/dev/null/none", "client_encoding": "UTF8",
      // A peer that went away without a word is found out, also while nothing is asked.
      "keepalives": "1", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3",
      "tcp_user_timeout": "\(milliseconds)",
    ]
    parameters.merge(fixed) { $1 }
    var usual = ["application_name": "key-custody", "gssencmode": "disable"]
    // Of several one is the primary: from another what was withdrawn may still be read.
    if hosts.count > 1 { usual["target_session_attrs"] = "read-write" }
    for (name, value) in usual where parameters[name] == nil { parameters[name] = value }
  }

  /// What libpq is told of each host, of which it would wait for the first without an end.
  package var hosts: [[String: String]] {
    func list(_ name: String) -> [String] {
      parameters[name]?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? []
    }
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"))
    let count = max(names.count, addresses.count)
    // What does not fit together libpq refuses in words of its own.
    guard count > 1, [0, count].contains(names.count), [0, count].contains(addresses.count),
      [0, 1, count].contains(ports.count)
    else { return [parameters] }
    return (0..<count).map { index in
      var one = parameters
      if !names.isEmpty { one["host"] = names[index] }
      if !addresses.isEmpty { one["hostaddr"] = addresses[index] }
      if ports.count == count { one["port"] = ports[index] }
      return one
    }
  }

  /// Whether a text can stand in a statement as the name of a schema.
  private static func isName(_ text: String) -> Bool {
    let letters = text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5f }
    guard let first = text.utf8.first, letters, text.utf8.count <= 63 else { return false }
    return !(0x30...0x39).contains(first) && !text.hasPrefix("pg_")
  }

  /// Whether every host is this machine.
  private static func isLocal(_ parameters: [String: String]) -> Bool {
    guard let hosts = parameters["host"] ?? parameters["hostaddr"] else { return true }
    return hosts.split(separator: ",", omittingEmptySubsequences: false).allSatisfy {
      $0.isEmpty || $0.hasPrefix("/") || $0.hasPrefix("@") || ["localhost", "127.0.0.1", "::1"].contains($0)
    }
  }

  /// Takes an address apart as libpq does.
  ///
  /// What libpq says of one that is malformed is not passed on: it may quote a password.
  private static func read(_ url: String) throws(KeyCustodyError) -> [String: String] {
    guard url.hasPrefix("postgresql://") || url.hasPrefix("postgres://") else {
      throw wrong("'url' does not begin with 'postgresql://'.", "Write postgresql://USER@HOST:PORT/DATABASE.")
    }
    var complaint: UnsafeMutablePointer<CChar>?
    guard let options = unsafe PQconninfoParse(url, &complaint) else {
      unsafe PQfreemem(complaint)
      throw wrong("'url' can't be read as an address of a database.", "Write postgresql://USER@HOST:PORT/DATABASE.")
    }
    defer { unsafe PQconninfoFree(options) }
    var found: [String: String] = [:]
    var option = unsafe options
    while let name = unsafe option.pointee.keyword {
      if let value = unsafe option.pointee.val { unsafe found[String(cString: name)] = String(cString: value) }
      unsafe option += 1
    }
    guard found["password"] == nil, found["sslpassword"] == nil else {
      throw wrong(
        "'url' holds a password.", "Put it into a file that only the service reads, and name that as 'passwordFile'.")
    }
    return found
  }

  private static func wrong(_ message: String, _ remedy: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .badConfigurationValue, message, remedy: remedy)
  }
}

extension Duration {
  /// Whole milliseconds.
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
