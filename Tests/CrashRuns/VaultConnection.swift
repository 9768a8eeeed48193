import KeyCustody
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One connection to a vault, kept for many requests: what is asked over it is asked in turn.
struct VaultConnection {
  /// What came back.
  struct Answer: Sendable {
    var status: Int
    /// The server's name of the request, as it stands in the audit log.
    var request: String
    var json: JSON
    var isGood: Bool { (200...299).contains(status) }
    /// What it says went wrong.
    var error: String { "\(status) \(json["error"]?["code"]?.string ?? "")" }
  }
  /// The server went away before it answered.
  struct NoAnswer: Error {}

  private typealias Channel = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>
  private static let patience = TimeAmount.seconds(20)
  private let channel: any NIOCore.Channel
  private let outbound: NIOAsyncChannelOutboundWriter<HTTPClientRequestPart>
  private var inbound: NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator
  /// Proves who asks.
  var token = ""

  /// What trusts the server's authority alone.
  static func trust(_ caFile: String) throws -> NIOSSLContext {
    var settings = TLSConfiguration.makeClientConfiguration()
    settings.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(caFile))
    return try NIOSSLContext(configuration: settings)
  }

  /// Connects, and closes after `body`.
  static func open<Result>(
    _ port: Int, _ trust: NIOSSLContext, _ body: (inout VaultConnection) async throws -> Result
  ) async throws -> Result {
    let channel: Channel
    do {
      channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .connect(host: "127.0.0.1", port: port) { channel in
          channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(NIOSSLClientHandler(context: trust, serverHostname: ServedVault.host))
            try pipeline.addHTTPClientHandlers()
            return try Channel(wrappingChannelSynchronously: channel)
          }
        }
    } catch { throw NoAnswer() }
    var outcome: Swift.Result<Result, any Error>?
    // What comes of closing doesn't matter, after a server that was killed.
    try? await channel.executeThenClose { inbound, outbound in
      var connection = VaultConnection(
        channel: channel.channel, outbound: outbound, inbound: inbound.makeAsyncIterator())
      do { outcome = .success(try await body(&connection)) } catch { outcome = .failure(error) }
    }
    guard let outcome else { throw NoAnswer() }
    return try outcome.get()
  }

  private init(
    channel: any NIOCore.Channel, outbound: NIOAsyncChannelOutboundWriter<HTTPClientRequestPart>,
    inbound: NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator
  ) {
    (self.channel, self.outbound, self.inbound) = (channel, outbound, inbound)
  }

  /// Asks the vault.
  ///
  /// - Parameter name: the client's name of the request, by which it may be asked again.
  /// - Throws: ``NoAnswer``.
  mutating func ask(
    _ method: HTTPMethod, _ path: String, _ body: JSON? = nil, name: String? = nil
  ) async throws(NoAnswer) -> Answer {
    var headers: [(String, String)] = [("Authorization", "Bearer \(token)"), ("Content-Type", "application/json")]
    if let name { headers.append(("x-ms-client-request-id", name)) }
    let path = path.contains("?") ? path : "\(path)?api-version=7.6"
    return try await exchange(method, path, at: ServedVault.host, headers, body.map(\.bytes) ?? [])
  }

  /// Gets a token for the client's secret, and keeps it.
  mutating func logIn(_ vault: ServedVault.Credentials) async throws {
    let fields = [
      "grant_type=client_credentials", "client_id=\(vault.clientID)", "client_secret=\(vault.clientSecret)",
      "scope=https%3A%2F%2F\(ServedVault.domain)%2F.default",
    ]
    let answer = try await exchange(
      .POST, "/\(vault.tenant)/oauth2/v2.0/token", at: "login.\(ServedVault.domain)",
      [("Content-Type", "application/x-www-form-urlencoded")], Array(fields.joined(separator: "&").utf8))
    guard let token = answer.json["access_token"]?.string else { throw Stop("No token was given: \(answer)") }
    self.token = token
  }

  private mutating func exchange(
    _ method: HTTPMethod, _ path: String, at host: String, _ headers: [(String, String)], _ body: [UInt8]
  ) async throws(NoAnswer) -> Answer {
    let (channel, outbound) = (channel, outbound)
    // A server that says nothing for so long has not answered.
    let timer = channel.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
    defer { timer.cancel() }
    let head = HTTPRequestHead(
      version: .http1_1, method: method, uri: path,
      headers: HTTPHeaders(headers + [("Host", host), ("Content-Length", "\(body.count)")]))
    do {
      try await outbound.write(.head(head))
      if !body.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
      try await outbound.write(.end(nil))
      var (status, request) = (0, "")
      var text: [UInt8] = []
      while let part = try await inbound.next(isolation: #isolation) {
        switch part {
        case .head(let head):
          (status, request) = (Int(head.status.code), head.headers.first(name: "x-ms-request-id") ?? "")
        case .body(let bytes): text += Array(buffer: bytes)
        case .end: return Answer(status: status, request: request, json: (try? JSON(text)) ?? .null)
        }
      }
    } catch {}
    throw NoAnswer()
  }
}
