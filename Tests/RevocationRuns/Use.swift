/// What one process saw of its uses of a customer's key.
///
/// Times are nanoseconds of the machine's monotonic clock, which all processes share.
struct Use: Sendable, Codable {
  /// When the last use began that succeeded.
  var last: UInt64 = 0
  /// When the first use ended that succeeded after one that did not.
  var regained: UInt64 = 0
  /// The uses that succeeded.
  var successes = 0
  /// Those that did not, since the last that did.
  var refusals = 0
  /// All that did not.
  var allRefusals = 0
}

/// What a process is told, a line each.
enum Instruction: Sendable, Codable {
  /// To withdraw a customer's grant; answered by ``Answer``.
  case revoke(Int)
  /// To grant it again; answered by ``Answer``.
  case restore(Int)
  /// To tell what it saw: a ``Use`` for each customer.
  case tell
}

/// What a process says of a change that was made.
struct Answer: Sendable, Codable {
  /// When it was answered.
  var time: UInt64
  /// By when it holds everywhere, at the latest.
  var promised: UInt64
}
