#if CommandLine
  import ArgumentParser
  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif
  import KeyCustody

  /// How results are printed.
  enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case text
    case json
  }

  /// Prints results to standard output and errors to standard error.
  struct Output: Sendable {
    let format: OutputFormat

    /// A result: `text` for people, `value` as one line of JSON for programs.
    func print(_ text: String, _ value: some Encodable) {
      switch format {
      case .text: Process.write(text + "\n", to: 1)
      case .json:
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return }
        Process.write(String(decoding: data, as: UTF8.self) + "\n", to: 1)
      }
    }

    /// A result as ``JSON``: `text` for people, one line for programs.
    func printJSON(_ text: String, _ value: JSON) {
      switch format {
      case .text: Process.write(text + "\n", to: 1)
      case .json: Process.write(String(decoding: value.bytes, as: UTF8.self) + "\n", to: 1)
      }
    }

    /// An error: what happened and why, and what to do about it.
    func report(_ error: KeyCustodyError) {
      switch format {
      case .text:
        Process.write("error: \(Self.shown(error.message)) (\(error.code.rawValue), \(error.reason))\n", to: 2)
        if !error.remedy.isEmpty { Process.write("remedy: \(Self.shown(error.remedy))\n", to: 2) }
        if let diagnostic = error.diagnostic { Process.write("details: \(Self.shown(diagnostic))\n", to: 2) }
      case .json:
        print("", ["error": ErrorForm(error)])
      }
    }

    /// One bounded line that a terminal shows as it is: names that others chose can't steer it.
    private static func shown(_ text: String) -> String {
      let isLong = text.unicodeScalars.count > 2000
      let safe = text.unicodeScalars.prefix(2000).map { scalar -> Character in
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned: "?"
        default: Character(scalar)
        }
      }
      return String(safe) + (isLong ? "…" : "")
    }

    private struct ErrorForm: Encodable {
      let code: String
      let reason: String
      let message: String
      let remedy: String
      let retry: String
      init(_ error: KeyCustodyError) {
        code = error.code.rawValue
        reason = error.reason.rawValue
        message = error.message
        remedy = error.remedy
        retry = error.retryClass.rawValue
      }
    }
  }

  extension KeyCustodyError {
    /// The same error in other words.
    func with(message: String? = nil, remedy: String? = nil) -> KeyCustodyError {
      KeyCustodyError(
        code, reason, message ?? self.message, remedy: remedy ?? self.remedy, retryAfter: retryAfter,
        diagnostic: diagnostic)
    }
  }

  /// Options of every command.
  struct CommonOptions: ParsableArguments {
    @Option(help: "How results are printed: text or json.")
    var output: OutputFormat = .text

    /// Runs a command's work; an error is reported in full and ends the program with status 1.
    func run(_ body: (Output) async throws -> Void) async throws {
      let output = Output(format: self.output)
      do { try await body(output) } catch let error as KeyCustodyError {
        output.report(error)
        throw ExitCode.failure
      }
    }
  }

  /// `1.5 GB`, `12 kB`: decimal units, two or three digits.
  func byteCount(_ count: Double) -> String {
    var value = count
    for unit in ["B", "kB", "MB", "GB"] {
      if value < 1000 || unit == "GB" {
        let rounded = value < 10 && unit != "B" ? (value * 10).rounded() / 10 : value.rounded()
        return rounded == rounded.rounded() && (value >= 10 || unit == "B")
          ? "\(Int(rounded)) \(unit)" : "\(rounded) \(unit)"
      }
      value /= 1000
    }
    return ""
  }
#endif
