#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyCrypto
  import KeyCustodyServedVaults
  import KeyCustodyTestSupport
  import NIOCore
  import NIOHTTP1
  import NIOPosix
  import NIOSSL
  import Synchronization

  @testable import KeyCustodyAzureKeyVault
  @testable import KeyCustodyServer

  /// A vault over HTTPS, with something before it that loses requests and answers, and answers in the vault's place.
  final class FrontedVaults: Sendable {
    /// What happens to a request instead of being served.
    enum Fault: Sendable {
      /// The connection ends before the vault sees it.
      case lost
      /// The vault does what is asked, and the connection ends before it answers.
      case answerLost
      /// Nothing is ever answered.
      case silence
      /// Something else is answered, and the vault sees nothing.
      case answer(Int, headers: [(String, String)] = [], body: [UInt8] = [])
      /// Somebody does something first; then it is served.
      case after(@Sendable () async -> Void)
    }
    private struct Plan {
      var method: String
      var part: String
      var fault: Fault
      var left: Int
    }
    /// What came in, as `METHOD /path`, and `-` behind it where it showed no token.
    private let seen = Mutex<[String]>([])
    private let plans = Mutex<[Plan]>([])
    private let channel = Mutex<(any Channel)?>(nil)
    private let folder: TemporaryFolder
    let bench: VaultBench
    let vault: String
    let settings: AzureKeyVaultSettings
    /// Where the client's secret is.
    let secretFile: String

    init() async throws {
      folder = try TemporaryFolder()
      let certificate = try await VaultBench.certificate(in: folder)
      let port = try await VaultBench.freePort()
      bench = try await VaultBench(port: port)
      vault = try await bench.makeVault()
      secretFile = try folder.write(Array(bench.secret.utf8), to: "secret")
      settings = bench.settings(vault, secretFile: secretFile, caFile: certificate.caFile)
      let chain = try NIOSSLCertificate.fromPEMFile(certificate.certificateFile)
        .map { NIOSSLCertificateSource.certificate($0) }
      let context = try NIOSSLContext(
        configuration: TLSConfiguration.makeServerConfiguration(
          certificateChain: chain,
          privateKey: .privateKey(try NIOSSLPrivateKey(file: certificate.keyFile, format: .pem))))
      let bound = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.backlog, value: 256)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
            try channel.pipeline.syncOperations.configureHTTPServerPipeline()
            try channel.pipeline.syncOperations.addHandler(Handler(self))
          }
        }
        .bind(host: "127.0.0.1", port: port).get()
      channel.withLock { $0 = bound }
    }

    /// Puts another secret where the client's is read from.
    func write(secret: String) throws { try folder.write(Array(secret.utf8), to: "secret") }

    /// Has the next requests of a method, whose address has that part, meet a fault.
    func plan(_ fault: Fault, _ method: String, _ part: String, times: Int = 1) {
      plans.withLock { $0.append(Plan(method: method, part: part, fault: fault, left: times)) }
    }

    /// Forgets what was planned.
    func heal() { plans.withLock { $0 = [] } }

    /// How many requests of a method came whose address has that part.
    func count(_ method: String, _ part: String) -> Int {
      seen.withLock { $0.filter { $0.hasPrefix(method + " ") && $0.contains(part) }.count }
    }

    func open(environment: RuntimeEnvironment = RuntimeEnvironment()) async throws -> AzureKeyVaultProvider {
      try await AzureKeyVaultProvider.open(settings, environment: environment)
    }

    /// Listens no more.
    func stop() async throws {
      let open = channel.withLock { channel in
        defer { channel = nil }
        return channel
      }
      try await open?.close()
    }

    /// What is answered; `nil` ends the connection.
    fileprivate enum Reply: Sendable {
      case answer(Int, [(String, String)], [UInt8])
      case hangUp
      case silence
    }

    fileprivate func answer(_ head: HTTPRequestHead, _ body: [UInt8]) async -> Reply {
      let fault = note(head)
      switch fault {
      case .lost: return .hangUp
      case .silence: return .silence
      case .answer(let status, let headers, let body): return .answer(status, headers, body)
      case .after(let act): await act()
      case .answerLost, nil: break
      }
      var fields = HTTPFields()
      for header in head.headers {
        guard let name = HTTPField.Name(header.name) else { continue }
        fields.append(HTTPField(name: name, value: header.value))
      }
      let request = HTTPRequest(
        method: HTTPRequest.Method(rawValue: head.method.rawValue) ?? .get, scheme: "https",
        authority: head.headers.first(name: "host"), path: head.uri, headerFields: fields)
      let response = await bench.server.respond(to: request, body: body, from: "192.0.2.8")
      if case .answerLost = fault { return .hangUp }
      return .answer(
        response.status.code, response.headers.map { ($0.name.rawName, $0.value) }, response.body)
    }

    private func note(_ head: HTTPRequestHead) -> Fault? {
      let hasToken = head.headers.contains(name: "authorization")
      seen.withLock { $0.append("\(head.method.rawValue) \(head.uri)\(hasToken ? "" : " -")") }
      return plans.withLock { plans in
        let index = plans.firstIndex {
          $0.left > 0 && $0.method == head.method.rawValue && "\(head.uri)\(hasToken ? "" : " -")".contains($0.part)
        }
        guard let index else { return nil }
        plans[index].left -= 1
        return plans[index].fault
      }
    }
  }

  /// Answers the requests of one connection, one after another.
  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let front: FrontedVaults
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(_ front: FrontedVaults) { self.front = front }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): (self.head, body) = (head, [])
      case .body(let part): body.append(contentsOf: part.readableBytesView)
      case .end:
        guard let head else { return }
        let (front, body) = (front, body)
        context.eventLoop.makeFutureWithTask { await front.answer(head, body) }
          .assumeIsolated().whenSuccess { reply in self.write(reply, context) }
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func write(_ reply: FrontedVaults.Reply, _ context: ChannelHandlerContext) {
      switch reply {
      case .silence: break
      case .hangUp: context.close(promise: nil)
      case .answer(let status, let fields, let body):
        var headers = HTTPHeaders(fields)
        headers.replaceOrAdd(name: "content-length", value: "\(body.count)")
        let head = HTTPResponseHead(
          version: .http1_1, status: HTTPResponseStatus(statusCode: status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      }
    }
  }
#endif
