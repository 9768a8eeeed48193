import CBaseline
import Foundation

/// A server in a process of its own, for as long as this one runs.
struct ServerProcess {
  let id: pid_t
  let port: Int

  /// Starts a program and waits for the line that tells its port: a number, or JSON with `port` in it.
  init(_ words: [String]) throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Unexpected(description: "There is no pipe to be had.") }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    for end in ends { posix_spawn_file_actions_addclose(&actions, end) }
    var arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    let isStarted = posix_spawnp(&child, words[0], &actions, nil, &arguments, environ) == 0
    close(ends[1])
    guard isStarted else { throw Unexpected(description: "'\(words[0])' can't be run.") }
    id = child
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while read(ends[0], &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
    let told = try? JSONSerialization.jsonObject(with: Data(line), options: .fragmentsAllowed)
    guard let port = told as? Int ?? (told as? [String: Any])?["port"] as? Int else {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
      throw Unexpected(description: "'\(words.joined(separator: " "))' did not get ready.")
    }
    self.port = port
  }

  /// This program's own path, and that of the command that was built beside it.
  static var programs: (bench: String, keycustody: String) {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (path, URL(fileURLWithPath: path).deletingLastPathComponent().appendingPathComponent("keycustody").path)
  }

  /// What it has in memory, in MiB.
  var resident: Double {
    get throws {
      let text = try String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
      let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
      guard let kibibytes = line?.split(separator: " ").dropLast().last.flatMap({ Double($0) }) else {
        throw Unexpected(description: "The memory of process \(id) can't be read.")
      }
      return kibibytes / 1024
    }
  }

  func stop() {
    kill(id, SIGKILL)
    waitpid(id, nil, 0)
  }
}

/// A folder of this user alone, for as long as it is needed.
struct TemporaryFolder {
  let path = "\(NSTemporaryDirectory())/key-custody-bench-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"

  init() throws {
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }
}
