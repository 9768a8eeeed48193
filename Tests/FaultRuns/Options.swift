#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a run of this program can be.
enum RunKind: String, CaseIterable {
  case exhaustive, sustained, hang, daemon
  /// The child of the exhaustive run that is killed.
  case scenario
}

/// The command line: the kind of run, then `--name value` pairs and `--flags`.
struct Options {
  let kind: RunKind
  private var values: [String: String] = [:]

  static let usage = """
    exhaustive [--stride K] [--workers W] [--fault NAME --nth N,N --verbose]
                                 every call of a scenario with every fault; with --fault and --nth those runs alone
    sustained [--seconds S] [--clients C] [--without WORD] [--verbose]
                                 a load while the token stumbles, forgets and vanishes; --without leaves rules with a word out
    hang [--clients C] [--seconds S]
                                 a load while calls don't come back, for 5 seconds each at least
    daemon [--clients C] [--rounds R] [--sessions N]
                                 a load while the HSM's daemon is killed
    """

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    guard let kind = rest.popFirst().flatMap(RunKind.init) else {
      throw Stop(
        "The first word is one of: \(RunKind.allCases.map(\.rawValue).joined(separator: ", ")).\n\(Self.usage)")
    }
    self.kind = kind
    while let name = rest.popFirst() {
      guard name.hasPrefix("--") else { throw Stop("'\(name)' is no option.\n\(Self.usage)") }
      let hasValue = rest.first.map { !$0.hasPrefix("--") } ?? false
      values[String(name.dropFirst(2))] = hasValue ? rest.popFirst() : ""
    }
  }

  func text(_ name: String) -> String? { values[name] }

  func required(_ name: String) throws -> String {
    guard let value = values[name], !value.isEmpty else { throw Stop("--\(name) is missing.") }
    return value
  }

  func number(_ name: String, _ standard: Int) throws -> Int {
    guard let text = values[name] else { return standard }
    guard let number = Int(text), number > 0 else { throw Stop("--\(name) takes a number above 0.") }
    return number
  }

  var isVerbose: Bool { values["verbose"] != nil }
}

/// Why a run can't go on.
struct Stop: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Writes a line at once: a process that is killed has no buffers to lose.
func say(_ line: String) {
  let bytes = Array("\(line)\n".utf8)
  _ = unsafe write(1, bytes, bytes.count)
}

/// The figures that were demanded, and whether they were met.
struct Verdict {
  /// Whether nothing went wrong.
  private(set) var isRight = true
  /// Whether everything was done in its time.
  private(set) var isInTime = true

  /// Prints a figure with what was demanded of it.
  mutating func demand(_ isMet: Bool, _ line: String) {
    isRight = Self.say(isMet, line) && isRight
  }

  /// Prints a time or a rate with what was demanded of it: a machine that others use too can spoil it.
  mutating func demandTime(_ isMet: Bool, _ line: String) {
    isInTime = Self.say(isMet, line) && isInTime
  }

  private static func say(_ isMet: Bool, _ line: String) -> Bool {
    KeyCustodyFaultRuns.say("  \(isMet ? "ok   " : "SHORT") \(line)")
    return isMet
  }
}
