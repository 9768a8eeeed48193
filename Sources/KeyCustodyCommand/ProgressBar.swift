#if CommandLine
  import KeyCustody
  import Synchronization

  /// A bar on standard error while something long runs; nothing where that is not a terminal.
  final class ProgressBar: Sendable {
    private struct State {
      var done: Int64 = 0
      var shown = -1
    }
    private let title: String
    private let total: Int64
    private let isShown: Bool
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    init(_ title: String, total: Int64, isShown: Bool) {
      self.title = title
      self.total = max(total, 1)
      self.isShown = isShown
    }

    /// More is done by so much.
    func add(_ count: Int64) {
      guard isShown else { return }
      let line = state.withLock { state -> String? in
        state.done += count
        let percent = Int(min(100, state.done * 100 / total))
        guard percent != state.shown else { return nil }
        state.shown = percent
        let bar = String(repeating: "#", count: percent / 4) + String(repeating: ".", count: 25 - percent / 4)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        return "\r\(title.prefix(28)) [\(bar)] \(percent)% \(byteCount(Double(state.done) / max(seconds, 0.001)))/s  "
      }
      if let line { Process.write(line, to: 2) }
    }

    /// Clears the line.
    func finish() {
      if isShown { Process.write("\r" + String(repeating: " ", count: 78) + "\r", to: 2) }
    }
  }
#endif
