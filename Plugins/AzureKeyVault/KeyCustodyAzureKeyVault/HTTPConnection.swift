import KeyCustody

#if AzureKeyVault
  import AsyncHTTPClient
  import NIOCore
  import NIOPosix
  import NIOHTTP1
  import NIOSSL

  /// Connections that are kept for the next request.
  final class HTTPConnection: Sendable {
    private let client: HTTPClient

    /// Reads the certificate authorities to trust, the system's where no file is given; connects to nothing yet.
    ///
    /// - Parameter hosts: addresses to connect to in place of what names resolve to.
    init(caFile: String?, hosts: [String: String]) throws(KeyCustodyError) {
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.minimumTLSVersion = .tlsv12
      if let caFile {
        do { tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(caFile)) } catch {
          throw KeyCustodyError(
            .invalidInput, .badConfigurationValue,
            "The file '\(caFile)' holds no certificates that can be read (PEM).",
            remedy: "Point 'caFile' at the certificates of the vault's authorities.", diagnostic: "\(error)")
        }
      }
      var configuration = HTTPClient.Configuration(
        tlsConfiguration: tls, redirectConfiguration: .disallow,
        timeout: HTTPClient.Configuration.Timeout(connect: .seconds(5)))
      configuration.httpVersion = .http1Only
      configuration.connectionPool.retryConnectionEstablishment = false
      configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 32
      configuration.dnsOverride = hosts
      client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    deinit {
      // A client that nobody ended stops the process; one that was ended says so, and nothing happens.
      Task { [client] in try? await client.shutdown() }
    }

    /// Sends a request and reads the whole reply.
    func send(_ ask: HTTPAsk, within limit: Duration) async throws(HTTPFailure) -> HTTPReply {
      var request = HTTPClientRequest(url: ask.address)
      request.method = HTTPMethod(rawValue: ask.method.rawValue)
      request.headers = ["accept": "application/json", "user-agent": "key-custody"]
      for header in ask.headers { request.headers.add(name: header.name, value: header.value) }
      if let body = ask.body {
        request.headers.add(name: "content-type", value: body.type)
        var buffer = ByteBuffer()
        body.bytes.withBytes { bytes in _ = buffer.writeBytes(bytes) }
        request.body = .bytes(buffer)
      }
      let deadline = NIODeadline.now() + .nanoseconds(Int64(limit / .nanoseconds(1)))
      do {
        let response = try await client.execute(request, deadline: deadline)
        guard response.headers.count <= HTTPReply.mostHeaders else {
          throw HTTPFailure.excessive("It has more than \(HTTPReply.mostHeaders) headers.")
        }
        var reply = HTTPReply(status: Int(response.status.code))
        reply.challenges = response.headers["www-authenticate"]
        reply.retryAfter = HTTPReply.retryAfter(response.headers.first(name: "retry-after"))
        for try await part in response.body {
          guard reply.body.count + part.readableBytes <= HTTPReply.longestBody else {
            throw HTTPFailure.excessive("It is longer than \(HTTPReply.longestBody) bytes.")
          }
          reply.body.append(contentsOf: part.readableBytesView)
        }
        return reply
      } catch { throw Self.failure(error) }
    }

    /// Ends every connection; what is under way fails.
    ///
    /// Whoever closes goes on after ``patience`` though a connection may not have come to its end: nothing more comes of it.
    func close() async {
      let ended = FirstAnswer<Bool>()
      Task { [client] in
        try? await client.shutdown()
        ended.give(true)
      }
      let timer = client.eventLoopGroup.next().scheduleTask(in: Self.patience) { _ = ended.give(false) }
      defer { timer.cancel() }
      _ = try? await ended.take()
    }

    /// How long the end of connections is waited for.
    private static let patience = TimeAmount.seconds(5)

    private static func failure(_ error: any Error) -> HTTPFailure {
      if let failure = error as? HTTPFailure { return failure }
      if let error = error as? HTTPClientError {
        switch error {
        case .deadlineExceeded, .readTimeout, .writeTimeout: return .late
        case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout: return .notSent("\(error)")
        default: return .broken("\(error)")
        }
      }
      if case NIOSSLError.handshakeFailed = error { return .notSent("\(error)") }
      return error is NIOConnectionError || error is NIOSSLExtraError ? .notSent("\(error)") : .broken("\(error)")
    }
  }
#else
  /// Stands in where the trait `AzureKeyVault` is off: no vault can be asked.
  final class HTTPConnection: Sendable {
    init(caFile: String?, hosts: [String: String]) throws(KeyCustodyError) {
      throw KeyCustodyError(
        .unsupported, .notOffered,
        "This program was built without the trait 'AzureKeyVault', and can't ask a vault over HTTPS.",
        remedy: "Build it with the trait, or keep the keys elsewhere.")
    }

    func send(_ ask: HTTPAsk, within limit: Duration) async throws(HTTPFailure) -> HTTPReply {
      throw .notSent("built without the trait 'AzureKeyVault'")
    }

    func close() async {}
  }
#endif
