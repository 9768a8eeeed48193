import Foundation
package import KeyCustodyTesting
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A socket before a PostgreSQL server's, with the faults of the kit in it.
///
/// It knows as much of the protocol (version 3) as is needed to tell where a request ends, and its answer. A request is what
/// a client sends up to where it waits: its greeting, or statements up to a Sync.
package final class SteeredServer: Sendable {
  /// Makes the faults.
  package let faults: FaultSwitch
  /// The folder of the socket.
  package let folder: String
  private let target: String
  private let listener: Int32
  private let register = Register()

  /// The sockets that are open, to be cut.
  private final class Register: Sendable {
    private let files = Mutex<Set<Int32>>([])
    func add(_ file: Int32) { files.withLock { _ = $0.insert(file) } }
    /// Closes it; under the lock, so that nobody cuts another file of the same number.
    func close(_ file: Int32) {
      files.withLock { files in
        files.remove(file)
        Glibc.close(file)
      }
    }
    func cut() { files.withLock { files in for file in files { shutdown(file, Int32(SHUT_RDWR)) } } }
  }

  /// Stands before the server whose socket is in a folder.
  package init(before target: String, in folder: String) throws {
    self.folder = folder
    self.target = "\(target)/.s.PGSQL.5432"
    let register = register
    faults = FaultSwitch([.refused, .answerLost, .outage, .sessionsLost, .corrupted, .hung, .crash]) { register.cut() }
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard unsafe Self.withAddress("\(folder)/.s.PGSQL.5432", { unsafe bind(listener, $0, $1) }) == 0,
      listen(listener, 64) == 0
    else { throw CocoaError(.fileWriteUnknown) }
    self.listener = listener
    let (faults, path) = (faults, self.target)
    Thread.detachNewThread { Self.accept(listener, path, faults, register) }
  }

  deinit {
    // Wakes the thread that accepts, which closes it.
    shutdown(listener, Int32(SHUT_RDWR))
    register.cut()
  }

  private static func withAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(path.utf8)) }
    return unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  private static func accept(_ listener: Int32, _ target: String, _ faults: FaultSwitch, _ register: Register) {
    while true {
      let client = Glibc.accept(listener, nil, nil)
      guard client >= 0 else { break }
      _ = fcntl(client, F_SETFD, FD_CLOEXEC)
      register.add(client)
      Thread.detachNewThread {
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        register.add(server)
        if unsafe withAddress(target, { unsafe connect(server, $0, $1) }) == 0 {
          Relay(client: client, server: server, faults: faults, cut: register.cut).run()
        }
        register.close(client)
        register.close(server)
      }
    }
    Glibc.close(listener)
  }
}

/// One client's connection.
private struct Relay {
  let client: Int32
  let server: Int32
  let faults: FaultSwitch
  let cut: @Sendable () -> Void

  /// Passes requests on and answers back, until either side or a fault ends it.
  func run() {
    guard let greeting = read(client, 4).flatMap({ head in read(client, length(head) - 4).map { head + $0 } }),
      relay(greeting)
    else { return }
    while true {
      var files = [client, server].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard unsafe poll(&files, 2, -1) > 0 || errno == EINTR else { return }
      if files[1].revents != 0 {
        // A notification, which nobody asked for.
        guard let message = message(from: server), write(client, message.bytes) else { return }
      }
      guard files[0].revents != 0 else { continue }
      var request: [UInt8] = []
      while true {
        guard let message = message(from: client), message.kind != 0x58 else { return }
        request += message.bytes
        if [0x53, 0x51, 0x70].contains(message.kind) { break }
      }
      guard relay(request) else { return }
    }
  }

  /// Does a request as the faults have it; whether the connection goes on.
  private func relay(_ request: [UInt8]) -> Bool {
    switch faults.enter() {
    case .fail, .lookEmpty: return false
    case .cut, .logOut:
      cut()
      return false
    case .work: return write(server, request) && answer().map { write(client, $0) } ?? false
    case .workThenFail:
      if write(server, request) { _ = answer() }
      return false
    case .corrupt: return write(server, request) && answer(corrupting: true).map { write(client, $0) } ?? false
    }
  }

  /// What the server says up to where it waits.
  private func answer(corrupting: Bool = false) -> [UInt8]? {
    var messages: [(kind: UInt8, bytes: [UInt8])] = []
    while let message = message(from: server) {
      messages.append(message)
      // Ready for the next request, or asking for a password.
      let asks =
        message.kind == 0x52 && ![0, 12].contains(message.bytes.dropFirst(5).prefix(4).reduce(0) { $0 << 8 | Int($1) })
      if message.kind == 0x5a || asks { break }
    }
    guard !messages.isEmpty else { return nil }
    if corrupting { corrupt(&messages) }
    return messages.flatMap(\.bytes)
  }

  /// Flips a bit in the longest value of the last row.
  private func corrupt(_ messages: inout [(kind: UInt8, bytes: [UInt8])]) {
    guard let index = messages.lastIndex(where: { $0.kind == 0x44 }) else { return }
    var (place, longest, position) = (0, 0, 7)
    while position + 4 <= messages[index].bytes.count {
      let count = length(Array(messages[index].bytes[position..<position + 4]))
      position += 4
      guard count != Int(UInt32.max) else { continue }
      if count > longest { (place, longest) = (position + count / 2, count) }
      position += count
    }
    if longest > 0 { messages[index].bytes[place] ^= 0x10 }
  }

  private func message(from file: Int32) -> (kind: UInt8, bytes: [UInt8])? {
    guard let head = read(file, 5), let body = read(file, length(Array(head[1...])) - 4) else { return nil }
    return (head[0], head + body)
  }

  private func length(_ bytes: [UInt8]) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }

  private func read(_ file: Int32, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe recv(file, $0.baseAddress.map { unsafe $0 + done }, count - done, 0)
      }
      if got < 0, errno == EINTR { continue }
      guard got > 0 else { return nil }
      done += got
    }
    return bytes
  }

  private func write(_ file: Int32, _ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
      let put = unsafe bytes.withUnsafeBytes {
        unsafe send(file, $0.baseAddress.map { unsafe $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
      }
      if put < 0, errno == EINTR { continue }
      guard put > 0 else { return false }
      done += put
    }
    return true
  }
}
