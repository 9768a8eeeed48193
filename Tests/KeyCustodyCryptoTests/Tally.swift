import Testing

/// What was run of a file of vectors, and what was not and why.
///
/// Its line is what `make vectors` makes its table of.
struct Tally {
  /// The file's name in the folder of vectors.
  let file: String
  /// Valid vectors that were accepted.
  var valid = 0
  /// Invalid vectors that were refused.
  var invalid = 0
  private var skipped: [String: Int] = [:]

  init(_ file: String) { self.file = file }

  /// A Wycheproof file.
  init(wycheproof name: String) { file = "wycheproof/\(name)_test.json" }

  /// Counts vectors that were not run.
  mutating func skip(_ reason: String, count: Int = 1) { skipped[reason, default: 0] += count }

  /// Prints the numbers; a file of which nothing was run is a failure.
  func report() {
    let reasons = skipped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: "; ")
    print("vectors|\(file)|\(valid)|\(invalid)|\(skipped.values.reduce(0, +))|\(reasons)")
    #expect(valid + invalid > 0, "\(file): nothing was run")
  }
}
