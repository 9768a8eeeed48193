import Logging
import Synchronization

/// Keeps everything that is logged, at every level, as text.
final class LogRecorder: Sendable {
  private let lines = Mutex<[String]>([])

  var text: String { lines.withLock { $0.joined(separator: "\n") } }
  var count: Int { lines.withLock(\.count) }

  var logger: Logger {
    var logger = Logger(label: "test") { _ in Handler(recorder: self) }
    logger.logLevel = .trace
    return logger
  }

  private struct Handler: LogHandler {
    let recorder: LogRecorder
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    init(recorder: LogRecorder) { self.recorder = recorder }

    subscript(metadataKey name: String) -> Logger.Metadata.Value? {
      get { metadata[name] }
      set { metadata[name] = newValue }
    }

    func log(event: LogEvent) {
      let all = metadata.merging(event.metadata ?? [:]) { $1 }
      recorder.lines.withLock {
        $0.append("\(event.level) \(event.message) \(all) \(event.error.map { "\($0)" } ?? "")")
      }
    }
  }
}
