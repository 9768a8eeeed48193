import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle
import Testing

@testable import KeyCustodyServer

/// A server that listens on a free port for as long as a test's body runs.
struct ListeningServer: Sendable {
  let bench: ServerBench
  let port: Int
  let identityPort: Int?
  /// The authority's certificate.
  let caFile: String
  let endsTLS: Bool
  let group: ServiceGroup

  /// Serves for a body.
  static func run(
    _ bench: ServerBench, idleSeconds: Int = 60, hasIdentity: Bool = false, connectionsPerAddress: Int? = nil,
    endsTLS: Bool = true, _ body: @escaping @Sendable (ListeningServer) async throws -> Void
  ) async throws {
    let folder = try TemporaryFolder()
    let path = folder.appending("tls")
    let certificate = try await BlockingWorker().run { () throws(KeyCustodyError) in
      try ServerCertificate.prepare(
        in: path, names: ["vault.test", "*.vault.test"], addresses: ["127.0.0.1"], time: SystemTime(),
        random: SystemRandom())
    }
    var binding = VaultApplication.Binding(
      tls: endsTLS ? .certificate(file: certificate.certificateFile, keyFile: certificate.keyFile) : .outside)
    binding.port = 0
    binding.idleSeconds = idleSeconds
    if let connectionsPerAddress { binding.mostConnectionsPerAddress = connectionsPerAddress }
    binding.identityPort = hasIdentity ? 0 : nil
    let (ports, found) = AsyncStream<(Int, Int?)>.makeStream()
    let application = VaultApplication(bench.server, binding: binding) { port, identityPort in
      found.yield((port, identityPort))
    }
    let services = ServiceGroup(
      configuration: .init(
        services: [.init(service: application, successTerminationBehavior: .gracefullyShutdownGroup)],
        logger: bench.log.logger))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { found.finish() }
        try await services.run()
      }
      group.addTask {
        var failure: (any Error)?
        for await (port, identityPort) in ports {
          let server = ListeningServer(
            bench: bench, port: port, identityPort: identityPort, caFile: certificate.caFile,
            endsTLS: endsTLS, group: services)
          do { try await body(server) } catch { failure = error }
          break
        }
        await services.triggerGracefulShutdown()
        if let failure { throw failure }
      }
      try await group.waitForAll()
    }
    withExtendedLifetime(folder) {}
  }

  /// Talks to the server over a connection of its own.
  func connect(isPlain: Bool = false, _ body: (inout Connection) async throws -> Void) async throws {
    let trust = caFile
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .connect(host: "127.0.0.1", port: isPlain ? identityPort ?? 0 : port) { channel in
        channel.eventLoop.makeCompletedFuture {
          if !isPlain, endsTLS {
            var settings = TLSConfiguration.makeClientConfiguration()
            settings.trustRoots = .file(trust)
            try channel.pipeline.syncOperations.addHandler(
              NIOSSLClientHandler(context: NIOSSLContext(configuration: settings), serverHostname: "kv1.vault.test"))
          }
          return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    try await channel.executeThenClose { inbound, outbound in
      var connection = Connection(channel: channel.channel, outbound: outbound, inbound: inbound.makeAsyncIterator())
      try await body(&connection)
    }
  }
}

/// One connection, by which HTTP is written and read by hand.
struct Connection {
  let channel: any Channel
  let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  private var buffer: [UInt8] = []

  init(
    channel: any Channel, outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
    inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  ) {
    self.channel = channel
    self.outbound = outbound
    self.inbound = inbound
  }

  /// What came back: a status, headers by lower-case names, a body.
  struct Reply {
    var status: Int
    var headers: [String: String]
    var body: [UInt8]
    var json: JSON? { try? JSON(body) }
  }

  func write(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

  /// Writes a request.
  func ask(
    _ method: String, _ path: String, token: String, body: String = "", headers: [String] = [],
    host: String = "kv1.vault.test"
  ) async throws {
    var lines = ["\(method) \(path) HTTP/1.1", "Host:\(host)", "Content-Length:\(body.utf8.count)"]
    if !token.isEmpty { lines.append("Authorization:Bearer \(token)") }
    try await write((lines + headers).joined(separator: "\r\n") + "\r\n\r\n" + body)
  }

  /// Reads a reply; `nil` when the connection was closed.
  mutating func reply() async throws -> Reply? {
    var end: Int?
    repeat {
      end = buffer.indices.first { buffer[$0...].starts(with: Array("\r\n\r\n".utf8)) }
      if end == nil, try await !more() { return nil }
    } while end == nil
    let head = String(decoding: buffer.prefix(end ?? 0), as: UTF8.self).split(separator: "\r\n")
    buffer.removeFirst((end ?? 0) + 4)
    var headers: [String: String] = [:]
    for line in head.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      headers[parts[0].lowercased()] = parts.count == 2 ? String(parts[1].drop { $0 == " " }) : ""
    }
    let length = headers["content-length"].flatMap { Int($0) } ?? 0
    while buffer.count < length {
      if try await !more() { return nil }
    }
    let body = Array(buffer.prefix(length))
    buffer.removeFirst(length)
    let status = head.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return Reply(status: status, headers: headers, body: body)
  }

  /// Waits until the server closes.
  ///
  /// - Returns: whether nothing more came before.
  mutating func isClosed() async -> Bool {
    do {
      while try await more() { if !buffer.isEmpty { return false } }
      return buffer.isEmpty
    } catch { return true }
  }

  private mutating func more() async throws -> Bool {
    do {
      guard let next = try await inbound.next(isolation: #isolation) else { return false }
      buffer += Array(buffer: next)
      return true
    } catch is NIOSSLError { return false } catch is IOError { return false }
  }
}
