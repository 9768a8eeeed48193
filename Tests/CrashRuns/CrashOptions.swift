import KeyCustodyTestSupport

/// The command line: what is killed, how often, and `--name value` pairs.
struct CrashOptions {
  /// What is killed.
  enum Kind: String, CaseIterable {
    /// A database server, under stores that use it.
    case postgresql
    /// `keycustody serve`, under clients that use it.
    case vault
  }
  let kind: Kind
  let rounds: Int?
  let executable: String
  let seed: UInt64

  private static let usage = """
    postgresql [ROUNDS]                                a PostgreSQL server under the load of three stores: 20 times
    vault [ROUNDS] [--executable PATH] [--seed NUMBER] keycustody serve, with the SQLite and the file policy store:
                                                       200 times in all
    """

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    guard let kind = rest.popFirst().flatMap(Kind.init) else {
      throw Stop("The first word is one of: \(Kind.allCases.map(\.rawValue).joined(separator: ", ")).\n\(Self.usage)")
    }
    self.kind = kind
    if let word = rest.first, !word.hasPrefix("--") {
      guard let number = Int(word), number > 0 else { throw Stop("'\(word)' is no number of rounds.\n\(Self.usage)") }
      rounds = number
      rest.removeFirst()
    } else {
      rounds = nil
    }
    var values: [String: String] = [:]
    while let name = rest.popFirst() {
      guard ["--executable", "--seed"].contains(name), let value = rest.popFirst() else {
        throw Stop("'\(name)' is no option with a value.\n\(Self.usage)")
      }
      values[name] = value
    }
    guard let seed = values["--seed"].map({ UInt64($0) }) ?? UInt64.random(in: 1...UInt64(UInt32.max)) else {
      throw Stop("--seed takes a number.")
    }
    self.seed = seed
    executable = kind == .vault ? try Self.executable(values["--executable"]) : ""
  }

  /// The program that is named, or the one that was built beside this one.
  private static func executable(_ path: String?) throws -> String {
    guard let found = try? path.map({ try Executable(at: $0) }) ?? Executable("keycustody") else {
      throw Stop("There is no program '\(path ?? "keycustody")' to be killed.")
    }
    return found.path
  }
}

/// Why a run can't go on.
struct Stop: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
