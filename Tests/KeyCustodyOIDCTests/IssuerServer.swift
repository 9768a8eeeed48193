#if OIDC
  import KeyCustody
  import NIOCore
  import NIOHTTP1
  import NIOPosix
  import NIOSSL
  import Synchronization
  import Testing

  /// An issuer over HTTP on a loopback address, whose answers a test decides.
  final class IssuerServer: Sendable {
    /// What a path is answered with.
    enum Answer: Sendable {
      /// 200 and this body.
      case document([UInt8])
      /// Another status, and where to go instead.
      case status(Int, location: String? = nil)
      /// 200 and so many bytes of white space, as fast as they are taken.
      case endless(Int)
      /// 200, the beginning of a body, and no more.
      case partial([UInt8])
      /// Nothing at all.
      case silence
      /// The connection is closed.
      case hangUp
    }
    private struct State {
      var answers: [String: Answer] = [:]
      var requests: [String: Int] = [:]
      var connections = 0
      var sent = 0
      var waiting: [(path: String, count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }
    private let state = Mutex(State())
    private let channel = Mutex<(any Channel)?>(nil)
    private let isProtected: Bool
    static let discoveryPath = "/.well-known/openid-configuration"

    /// Listens on a free port, with TLS where a certificate and its key are given (PEM files).
    init(certificate: String? = nil, key: String? = nil) async throws {
      isProtected = certificate != nil
      var tls: NIOSSLContext?
      if let certificate, let key {
        let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
        let configuration = TLSConfiguration.makeServerConfiguration(
          certificateChain: chain, privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
        tls = try NIOSSLContext(configuration: configuration)
      }
      let context = tls
      let bound = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.backlog, value: 256)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            self.state.withLock { $0.connections += 1 }
            if let context { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context)) }
            try channel.pipeline.syncOperations.configureHTTPServerPipeline()
            try channel.pipeline.syncOperations.addHandler(Handler(server: self))
          }
        }
        .bind(host: "127.0.0.1", port: 0).get()
      channel.withLock { $0 = bound }
    }

    /// The issuer's name, which is also its address.
    var origin: String {
      let port = channel.withLock { $0?.localAddress?.port } ?? 0
      return "\(isProtected ? "https" : "http")://127.0.0.1:\(port)"
    }

    func answer(_ path: String, _ answer: Answer) { state.withLock { $0.answers[path] = answer } }

    /// Publishes keys, by a discovery document where an issuer's is expected.
    func publish(_ keys: [JSON]) {
      let origin = origin
      let discovery: JSON = ["issuer": .string(origin), "jwks_uri": .string(origin + "/keys")]
      answer(Self.discoveryPath, .document(discovery.bytes))
      answer("/keys", .document(keySet(keys)))
    }

    func requests(to path: String) -> Int { state.withLock { $0.requests[path] ?? 0 } }
    var connections: Int { state.withLock { $0.connections } }
    /// How many bytes of endless answers were handed to connections.
    var sent: Int { state.withLock { $0.sent } }

    /// Waits until so many requests came to a path.
    func waitForRequests(to path: String, atLeast count: Int) async {
      await withCheckedContinuation { continuation in
        let isThere = state.withLock { state in
          if state.requests[path] ?? 0 >= count { return true }
          state.waiting.append((path, count, continuation))
          return false
        }
        if isThere { continuation.resume() }
      }
    }

    /// Listens no more.
    func stop() async throws {
      let open = channel.withLock { channel in
        defer { channel = nil }
        return channel
      }
      try await open?.close()
    }

    fileprivate func answer(to path: String) -> Answer {
      let (answer, due) = state.withLock { state in
        state.requests[path, default: 0] += 1
        let count = state.requests[path] ?? 0
        let due = state.waiting.filter { $0.path == path && $0.count <= count }
        state.waiting.removeAll { $0.path == path && $0.count <= count }
        return (state.answers[path] ?? .status(404), due)
      }
      for waiter in due { waiter.continuation.resume() }
      return answer
    }

    fileprivate func count(sent bytes: Int) { state.withLock { $0.sent += bytes } }
  }

  /// Answers the requests of one connection.
  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let server: IssuerServer
    private var path = ""
    private var left = 0

    init(server: IssuerServer) { self.server = server }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): path = head.uri
      case .body: break
      case .end: respond(context)
      }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { pour(context) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func respond(_ context: ChannelHandlerContext) {
      switch server.answer(to: path) {
      case .document(let bytes):
        head(context, .ok, ["content-length": "\(bytes.count)", "content-type": "application/json"])
        body(context, bytes)
        end(context)
      case .status(let code, let location):
        var headers: HTTPHeaders = ["content-length": "0"]
        if let location { headers.add(name: "location", value: location) }
        head(context, HTTPResponseStatus(statusCode: code), headers)
        end(context)
      case .endless(let count):
        left = count
        head(context, .ok, ["transfer-encoding": "chunked"])
        pour(context)
      case .partial(let bytes):
        head(context, .ok, ["content-length": "\(bytes.count + 1)"])
        body(context, bytes)
        context.flush()
      case .silence: break
      case .hangUp: context.close(promise: nil)
      }
    }

    private func pour(_ context: ChannelHandlerContext) {
      let chunk = [UInt8](repeating: 0x20, count: 65536)
      while left > 0, context.channel.isActive, context.channel.isWritable {
        left -= chunk.count
        server.count(sent: chunk.count)
        body(context, chunk)
        context.flush()
        if left <= 0 { end(context) }
      }
    }

    private func head(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ headers: HTTPHeaders) {
      context.write(
        wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
    }

    private func body(_ context: ChannelHandlerContext, _ bytes: [UInt8]) {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
    }

    private func end(_ context: ChannelHandlerContext) {
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }
#endif
