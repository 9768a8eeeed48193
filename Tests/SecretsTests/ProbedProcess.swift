import Foundation
import KeyCustodyMemoryScan
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process that is searched, from outside: what this one remembers does not count.
final class ProbedProcess {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var unread: [UInt8] = []

  init(_ arguments: [String]) throws {
    process.executableURL = URL(filePath: try Executable("KeyCustodySecretsProbe").path)
    process.arguments = arguments
    // The mode of the tests is not its: FIPS mode takes no random source that a test knows.
    process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
      !name.hasPrefix("KEYCUSTODY_") && !name.hasPrefix("OPENSSL_")
    }
    process.standardInput = input
    process.standardOutput = output
    try process.run()
  }

  /// The next line that it prints about where it stands.
  func nextStage() throws -> String {
    while true {
      if let end = unread.firstIndex(of: 0x0a) {
        let line = String(decoding: unread[..<end], as: UTF8.self)
        unread.removeSubrange(...end)
        if line.hasPrefix("open") || line.hasPrefix("closed") { return line }
      } else {
        let more = output.fileHandleForReading.availableData
        try #require(!more.isEmpty, "the process ended: \(process.isRunning ? "" : "\(process.terminationStatus)")")
        unread += more
      }
    }
  }

  /// Lets it go on.
  func goOn() { input.fileHandleForWriting.write(Data([0x0a])) }

  func end() {
    process.terminate()
    process.waitUntilExit()
  }

  /// Looks through every readable byte of its memory.
  ///
  /// - Returns: of each secret that was found, the regions it was found in, and how often.
  func search(_ secrets: Secrets) throws -> [String: [String: Int]] {
    let file = unsafe open("/proc/\(process.processIdentifier)/mem", O_RDONLY | O_CLOEXEC)
    try #require(file >= 0, "its memory can't be read: errno \(errno)")
    defer { close(file) }
    let windows = unsafe kc_windows_new(secrets.windows, secrets.windows.count)
    defer { unsafe kc_windows_free(windows) }
    var found: [String: [String: Int]] = [:]
    var searched = 0
    let maps = try String(contentsOfFile: "/proc/\(process.processIdentifier)/maps", encoding: .utf8)
    let length = 1 << 20
    var buffer = [UInt8](repeating: 0, count: length)
    for line in maps.split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      let bounds = words[0].split(separator: "-").compactMap { Int($0, radix: 16) }
      let name = words.count > 5 ? String(words[5]) : "anonymous"
      guard bounds.count == 2, words[1].hasPrefix("r"), !name.hasPrefix("[v") else { continue }
      var start = bounds[0]
      while start < bounds[1] {
        let wanted = min(length, bounds[1] - start)
        let got = unsafe pread(file, &buffer, wanted, start)
        guard got > 0 else { break }
        searched += got
        var offset = 0
        var which = 0
        while case let place = unsafe kc_find_window(windows, buffer, got, offset, &which), place >= 0 {
          found[secrets.names[which], default: [:]]["\(name) \(words[1])", default: 0] += 1
          offset = place + 1
        }
        // Windows that lie across two pieces.
        start += got == wanted && start + got < bounds[1] ? got - 7 : got
      }
    }
    #expect(searched > 1 << 20, "hardly anything was searched")
    return found
  }
}
