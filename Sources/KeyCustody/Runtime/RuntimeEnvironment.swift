public import Logging

/// What a plugin or a service is handed instead of reading it from the process: clock, randomness, log.
public struct RuntimeEnvironment: Sendable {
  /// The clock.
  public var time: any TimeSource
  /// The random source.
  public var random: any RandomSource
  /// The log.
  public var logger: Logger
  /// Relative paths of a configuration start here.
  public var baseDirectory: String
  /// The environment variables that may be read; none unless handed over.
  public var variables: [String: String]

  /// The machine's clock and randomness, unless told otherwise.
  public init(
    time: any TimeSource = SystemTime(), random: any RandomSource = SystemRandom(),
    logger: Logger = Logger(label: "key-custody"), baseDirectory: String = ".",
    variables: [String: String] = [:]
  ) {
    self.time = time
    self.random = random
    self.logger = logger
    self.baseDirectory = baseDirectory
    self.variables = variables
  }

  /// A path of a configuration, made to start at ``baseDirectory`` where it is relative.
  public func path(_ text: String) -> String { text.hasPrefix("/") ? text : "\(baseDirectory)/\(text)" }
}
