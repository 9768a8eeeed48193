#if CommandLine
  import ArgumentParser
  import KeyCustody

  /// Arguments that can't be understood, told in the form that was asked for.
  enum ArgumentErrors {
    /// Ends the program as the parser would have; with `--output json` an error is a JSON object like every other.
    static func end(with error: any Error) -> Never {
      let status = Main.exitCode(for: error)
      guard !status.isSuccess, wantsJSON(CommandLine.arguments) else { Main.exit(withError: error) }
      let usage = Main.fullMessage(for: error).split(separator: "\n").filter {
        $0.hasPrefix("Usage: ") || $0.hasPrefix("  See ")
      }
      Output(format: .json).report(
        KeyCustodyError(
          .invalidInput, .init("bad-arguments"), Main.message(for: error),
          remedy: usage.map { $0.drop { $0 == " " } }.joined(separator: ". ")))
      Process.exit(status.rawValue)
    }

    /// Whether the arguments ask for JSON, as far as they can be understood.
    private static func wantsJSON(_ arguments: [String]) -> Bool {
      let options = arguments.prefix { $0 != "--" }
      return options.contains("--output=json")
        || zip(options, options.dropFirst()).contains { $0 == ("--output", "json") }
    }
  }
#endif
