#if CommandLine
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif
  import KeyCustody

  /// The socket of a server in its data folder, and how a command is asked for over it.
  enum ControlSocket {
    static let commandPath = "/v1/command"
    static let largestMessage = 1 << 20
    /// What an address of a socket has room for, less the end.
    private static let room = 100

    /// The path of the socket, short enough for an address: through this process's own descriptor of the folder where
    /// it is not.
    static func shortened(_ folder: DataFolder) throws(KeyCustodyError) -> String {
      guard folder.socket.utf8.count > room else { return folder.socket }
      let descriptor = unsafe open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard descriptor >= 0 else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The folder '\(folder.path)' can't be opened.", remedy: "Check its permissions.")
      }
      // Stays open as long as the process: the path goes through it.
      return "/proc/self/fd/\(descriptor)/control.sock"
    }

    static func restrict(_ folder: DataFolder) { _ = unsafe chmod(folder.socket, 0o600) }
    static func remove(_ folder: DataFolder) { _ = unsafe unlink(folder.socket) }

    /// Has a server run this process's command, prints what it printed, and answers its status.
    ///
    /// - Returns: `nil` when no server runs on that folder.
    /// - Throws: `unavailable` when it hung up in between.
    static func relay(_ folder: DataFolder) throws(KeyCustodyError) -> Int32? {
      guard let descriptor = try connect(folder) else { return nil }
      defer { close(descriptor) }
      let body: JSON = [
        "arguments": .array(CommandLine.arguments.dropFirst().map(JSON.string)),
        "directory": .string(FileManager.default.currentDirectoryPath),
        "input": .string(try StandardInput.forRelay().base64URL),
      ]
      let bytes = body.bytes
      let head =
        "POST \(commandPath) HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Type: application/json\r\n"
        + "Content-Length: \(bytes.count)\r\n\r\n"
      let lost = KeyCustodyError(
        .unavailable, .unreachable, "The server on '\(folder.path)' hung up; what it did is unknown.",
        remedy: "Look at the result, then repeat.")
      guard send(Array(head.utf8) + bytes, to: descriptor) else { throw lost }
      guard let answer = try? JSON(Self.body(of: receive(from: descriptor))), let status = answer["status"]?.integer
      else { throw lost }
      for (number, name) in [(Int32(1), "output"), (2, "error")] {
        if let text = answer[name]?.string, !text.isEmpty { Process.write(text, to: number) }
      }
      return Int32(clamping: status)
    }

    private static func connect(_ folder: DataFolder) throws(KeyCustodyError) -> Int32? {
      let path = try shortened(folder)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let name = Array(path.utf8)
      guard name.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
      unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
      let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { return nil }
      let code = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
          unsafe Glibc.connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      guard code == 0 else {
        close(descriptor)
        return nil
      }
      return descriptor
    }

    private static func send(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
      var done = 0
      while done < bytes.count {
        let count = unsafe bytes.withUnsafeBytes { buffer in
          unsafe Glibc.send(
            descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 || errno == EINTR else { return false }
        done += max(0, count)
      }
      return true
    }

    private static func receive(from descriptor: Int32) -> [UInt8] {
      var bytes: [UInt8] = []
      var block = [UInt8](repeating: 0, count: 64 << 10)
      while bytes.count <= 8 << 20 {
        let count = unsafe read(descriptor, &block, block.count)
        guard count > 0 || (count < 0 && errno == EINTR) else { break }
        bytes += block.prefix(max(0, count))
      }
      return bytes
    }

    /// What comes after the head.
    private static func body(of message: [UInt8]) -> [UInt8] {
      let end: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
      guard message.count >= 4,
        let start = message.indices.dropLast(3).first(where: { message[$0..<$0 + 4] == end[...] })
      else { return [] }
      return Array(message[(start + 4)...])
    }
  }

  /// What is piped into a command.
  enum StandardInput {
    /// Reads it to its end, at most 64 KiB.
    static func read() throws(KeyCustodyError) -> [UInt8] {
      if let running = Running.current { return running.input }
      var bytes: [UInt8] = []
      var block = [UInt8](repeating: 0, count: 4096)
      while bytes.count <= 64 << 10 {
        let count = unsafe Glibc.read(STDIN_FILENO, &block, block.count)
        guard count > 0 || (count < 0 && errno == EINTR) else { return bytes }
        bytes += block.prefix(max(0, count))
      }
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "More than 64 KiB were piped in.", remedy: "Pipe in less.")
    }

    /// What a command that is relayed reads from there: only one that asks for it by `-`.
    static func forRelay() throws(KeyCustodyError) -> [UInt8] {
      CommandLine.arguments.contains { $0 == "-" || $0.hasSuffix("=-") } ? try read() : []
    }
  }
#endif
