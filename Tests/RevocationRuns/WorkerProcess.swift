import Foundation

/// A ``Worker`` in a process of its own, seen from the one that started it.
///
/// It ends when this process does, however that ends: its instructions end then.
final class WorkerProcess {
  private let process = Process()
  private let input = Pipe()
  private let lines: AsyncStream<String>

  /// Starts it and waits until it is ready: SoftHSM takes one login at a time.
  init(_ folder: String) async throws {
    process.executableURL = URL(filePath: CommandLine.arguments[0])
    process.arguments = ["worker", folder]
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    let reading = output.fileHandleForReading
    lines = AsyncStream { continuation in
      // A thread of its own: reading blocks.
      Thread {
        var rest: [UInt8] = []
        while case let data = reading.availableData, !data.isEmpty {
          rest += data
          while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            continuation.yield(String(decoding: rest[..<end], as: UTF8.self))
            rest.removeSubrange(...end)
          }
        }
        continuation.finish()
      }.start()
    }
    _ = try await answer([Use].self)
  }

  /// Has it follow an instruction, and waits for what it says.
  func ask<Reply: Decodable>(_ instruction: Instruction, _ type: Reply.Type = Reply.self) async throws -> Reply {
    try input.fileHandleForWriting.write(contentsOf: try JSONEncoder().encode(instruction) + Data("\n".utf8))
    return try await answer(type)
  }

  private func answer<Reply: Decodable>(_ type: Reply.Type) async throws -> Reply {
    for await line in lines {
      if let reply = try? JSONDecoder().decode(type, from: Data(line.utf8)) { return reply }
      // Why it ends.
      print(line)
    }
    throw Stop("A worker ended.")
  }

  /// What it saw, by customers.
  func uses() async throws -> [Use] { try await ask(.tell) }

  func end() throws {
    try input.fileHandleForWriting.close()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Stop("A worker ended with \(process.terminationStatus).") }
  }
}
