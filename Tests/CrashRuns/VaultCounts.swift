/// What became of what clients asked for.
struct VaultCounts: Sendable {
  /// Changes that were answered as made.
  var acknowledged = 0
  /// Acknowledged changes that were not there later.
  var lost = 0
  /// Changes that were made more than once.
  var doubled = 0
  /// Things of which a part is as it was before a change, and a part as after it; or that can't be used.
  var torn = 0
  /// Changes that were begun and not answered, and had been made.
  var unknownAndMade = 0
  /// Changes that were begun and not answered, and had not been made.
  var unknownNotMade = 0
  /// Of these, those that were asked for once more by the same name.
  var repeated = 0
  /// Times that something wrapped before was unwrapped as it should be.
  var unwrapped = 0
  /// Keys and secrets looked at after a restart.
  var looks = 0
  /// What was answered well, by the server's names of the requests, and the name of what it was about.
  var answered: [(request: String, thing: String)] = []
  /// What should not be, in words.
  var wrong: [String] = []

  static func += (left: inout VaultCounts, right: VaultCounts) {
    left.acknowledged += right.acknowledged
    left.lost += right.lost
    left.doubled += right.doubled
    left.torn += right.torn
    left.unknownAndMade += right.unknownAndMade
    left.unknownNotMade += right.unknownNotMade
    left.repeated += right.repeated
    left.unwrapped += right.unwrapped
    left.looks += right.looks
    left.answered += right.answered
    left.wrong += right.wrong
  }
}
