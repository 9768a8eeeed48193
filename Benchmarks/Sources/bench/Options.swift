import Foundation

/// What can be run by name.
enum RowName: String, CaseIterable {
  /// A record sealed in one layer.
  case sealRecord = "R1"
  /// A record opened in one layer.
  case openRecord = "R2"
  /// Records in two layers.
  case twoLayers = "R3"
  /// Records through a resource.
  case records = "R4"
  /// Objects in memory.
  case objects = "R5"
  /// Objects from file to file.
  case files = "R6"
  /// Reads inside an object.
  case reads = "R7"
  /// The outer layer renewed.
  case renewals = "R8"
  /// Keys on a token.
  case token = "R9"
  /// Look-ups of leases.
  case leases = "R10"
  /// Keys over HTTPS.
  case server = "R11"
  /// Keysets wrapped anew.
  case rewraps = "R12"
  /// Many resources in memory.
  case memory = "R13"
  /// Starting.
  case start = "R14"
}

/// What the command line asks for.
struct Options {
  /// Few short rounds: shows that all runs, no more.
  private(set) var isQuick = false
  /// The rows asked for by name; `nil` for all.
  private(set) var names: [RowName]?
  /// How figures grow, up to so many resources and items, in place of the rows.
  private(set) var scale: Scale?

  /// Those of this run; ends the process when they make no sense.
  static let current: Options = {
    do { return try Options(CommandLine.arguments.dropFirst()) } catch { quit(error, code: 2) }
  }()

  private init(_ arguments: some Sequence<String>) throws {
    var rest = arguments.makeIterator()
    while let argument = rest.next() {
      switch argument {
      case "--quick": isQuick = true
      case "--rows":
        names = try (rest.next() ?? "").split(separator: ",", omittingEmptySubsequences: false).map { name in
          guard let row = RowName(rawValue: String(name)) else {
            let known = RowName.allCases.map(\.rawValue).joined(separator: ", ")
            throw Unexpected(description: "There is no row '\(name)'. The rows are: \(known).")
          }
          return row
        }
      case "--scale":
        let numbers = (rest.next() ?? "").split(separator: ",").compactMap { Int($0) }
        guard numbers.count == 2 else {
          throw Unexpected(description: "--scale wants two numbers: RESOURCES,ITEMS.")
        }
        scale = Scale(resources: numbers[0], items: numbers[1])
      default:
        throw Unexpected(description: "'\(argument)' is none of --quick, --rows NAME,NAME and --scale RESOURCES,ITEMS.")
      }
    }
  }

  var rounds: Int { isQuick ? 3 : 11 }

  func includes(_ rows: RowName...) -> Bool { names.map { !rows.filter($0.contains).isEmpty } ?? true }
}

/// Says what went wrong and ends the process.
func quit(_ error: any Error, code: Int32) -> Never {
  FileHandle.standardError.write(Data("bench: \(error)\n".utf8))
  exit(code)
}
