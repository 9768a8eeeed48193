public import KeyCustody

/// How far a conversion is.
public struct JobProgress: Sendable, Hashable, Codable {
  /// How many items were to be converted when it began.
  public var totalItems = 0
  /// The size of their sealed forms, in bytes.
  public var totalBytes: Int64 = 0
  /// How many are converted; it may exceed the total by what came in meanwhile.
  public var items = 0
  /// The size of their sealed forms, in bytes.
  public var bytes: Int64 = 0
  /// How long it was worked on, in seconds, by all workers that had it.
  public var seconds: Double = 0

  /// Nothing yet.
  public init() {}

  /// Items a second, while it was worked on; `nil` before anything was done.
  public var rate: Double? { items > 0 && seconds > 0 ? Double(items) / seconds : nil }

  /// The seconds that what is left takes at this rate; `nil` before anything was done.
  public var remainingSeconds: Double? { rate.map { Double(max(totalItems - items, 0)) / $0 } }
}

/// What is left to do for a resource, in the background.
public struct Job: Sendable, Hashable, Codable {
  /// The resource whose stored data is converted.
  public var resource: ResourceID
  /// When it was asked for.
  public var planned: Timestamp
  /// How far it is.
  public var progress = JobProgress()
  /// Why it did not go on last time; `nil` when nothing was in its way.
  public var obstacle: Obstacle?

  /// What was in a job's way.
  public struct Obstacle: Sendable, Hashable, Codable {
    /// The error's reason, such as `access-denied`.
    public var reason: String
    /// What it says to people.
    public var message: String
    /// How often it was in the way, one time after the other.
    public var attempts: Int
  }
}

/// A job as it is stored.
struct JobRecord: Codable, Sendable {
  var job: Job
  /// How often it was planned while it was there.
  var plans = 0
  /// The worker that has it, if one does.
  var claim: Claim?

  /// Whose a job is.
  ///
  /// Every beat is a change of the record: by that others see that the worker lives.
  struct Claim: Codable, Sendable, Hashable {
    var worker: String
    var beat: Int
  }

  static let prefix = "jobs/"

  static func path(_ resource: ResourceID) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("\(prefix)\(resource.folded)")
  }
}
