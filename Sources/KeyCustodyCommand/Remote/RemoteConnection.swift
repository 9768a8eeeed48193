#if CommandLine
  import KeyCustody

  #if Server
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import NIOSSL

    /// One request over TLS, on a connection of its own.
    struct RemoteConnection: Sendable {
      let host: String
      let port: Int
      let caFile: String?
      /// The server, as errors name it.
      let name: String
      private static let longestAnswer = 8 << 20

      /// Asks, and reads the answer to its end.
      ///
      /// - Throws: `unavailable` (`unreachable`) for a server that can't be reached or hangs up; `denied`
      ///   (`untrusted-certificate`) for one that is not trusted.
      func exchange(
        _ method: String, _ path: String, headers: [(String, String)], body: [UInt8]
      ) async throws(KeyCustodyError) -> RemoteAnswer {
        let context = try tls()
        do {
          let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connectTimeout(.seconds(10))
            .connect(host: place, port: port) { channel in
              channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName))
                try pipeline.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                  wrappingChannelSynchronously: channel)
              }
            }
          // Longer than the server takes to say that it is too slow.
          let timer = channel.channel.eventLoop.scheduleTask(in: .seconds(30)) {
            channel.channel.close(promise: nil)
          }
          defer { timer.cancel() }
          let head = HTTPRequestHead(
            version: .http1_1, method: HTTPMethod(rawValue: method), uri: path, headers: HTTPHeaders(headers))
          return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(.head(head))
            if !body.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
            try await outbound.write(.end(nil))
            return try await Self.answer(inbound)
          }
        } catch let error as KeyCustodyError { throw error } catch { throw refusal(error) }
      }

      private static func answer(
        _ parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>
      ) async throws -> RemoteAnswer {
        var answer: RemoteAnswer?
        for try await part in parts {
          switch part {
          case .head(let head): answer = RemoteAnswer(status: Int(head.status.code), body: [])
          case .body(let bytes):
            answer?.body += Array(buffer: bytes)
            guard answer?.body.count ?? 0 <= longestAnswer else {
              throw KeyCustodyError(.unavailable, .badAnswer, "The server's answer is too long.")
            }
          case .end: if let answer { return answer }
          }
        }
        throw ChannelError.eof
      }

      /// Where to connect: names under `localhost` are this machine (RFC 6761), whatever resolves them.
      private var place: String { host == "localhost" || host.hasSuffix(".localhost") ? "127.0.0.1" : host }
      /// A certificate is checked for the name; for an address by itself where there is none.
      private var serverName: String? { host.allSatisfy { $0.isNumber || $0 == "." } ? nil : host }

      private func tls() throws(KeyCustodyError) -> NIOSSLContext {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv12
        settings.applicationProtocols = ["http/1.1"]
        do {
          if let caFile { settings.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(caFile)) }
          return try NIOSSLContext(configuration: settings)
        } catch {
          throw KeyCustodyError(
            .invalidInput, .badConfigurationValue,
            "The file '\(caFile ?? "")' holds no certificates that can be read (PEM).",
            remedy: "Give --ca-file the certificates of the authorities that signed the server's.",
            diagnostic: "\(error)")
        }
      }

      private func refusal(_ error: any Error) -> KeyCustodyError {
        let isAboutTrust = error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError
        if isAboutTrust {
          return KeyCustodyError(
            .denied, .untrustedCertificate, "The certificate of '\(name)' is not trusted; nothing was sent.",
            remedy:
              "Give --ca-file the authority that signed it (ca.pem of the server), after checking that it is the one.",
            diagnostic: "\(error)")
        }
        return KeyCustodyError(
          .unavailable, .unreachable, "The server '\(name)' can't be reached, or hung up.",
          remedy: "Check the address and the port, and that 'keycustody serve' runs there.", diagnostic: "\(error)")
      }
    }
  #else
    /// Stands in where the trait `Server` is off.
    struct RemoteConnection: Sendable {
      let host: String
      let port: Int
      let caFile: String?
      let name: String

      func exchange(
        _ method: String, _ path: String, headers: [(String, String)], body: [UInt8]
      ) async throws(KeyCustodyError) -> RemoteAnswer {
        throw KeyCustodyError(
          .unsupported, .notOffered, "This program was built without the trait 'Server', and can't reach '\(name)'.",
          remedy: "Build it with the trait, or run the command on the server's own machine.")
      }
    }
  #endif

  extension KeyCustodyError.Reason {
    /// A server's certificate that nobody who is trusted signed, or for another name.
    static let untrustedCertificate = Self("untrusted-certificate")
  }
#endif
