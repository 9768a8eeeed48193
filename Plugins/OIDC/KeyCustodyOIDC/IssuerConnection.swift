public import KeyCustody

#if OIDC
  import AsyncHTTPClient
  import NIOCore
  import NIOHTTP1
  import NIOSSL

  /// Asks an issuer for a document.
  ///
  /// A connection lives for one document: they are asked for once in hours, and nothing is left to be closed.
  struct IssuerConnection: Sendable {
    private let trustRoots: NIOSSLTrustRoots

    /// Reads the certificate authorities to trust; the system's where no file is given.
    init(caFile: String?) throws(KeyCustodyError) {
      guard let caFile else {
        trustRoots = .default
        return
      }
      do {
        trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(caFile))
      } catch {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The file '\(caFile)' holds no certificates that can be read (PEM).",
          remedy: "Point 'caFile' at the certificates of the issuer's authorities.", diagnostic: "\(error)")
      }
    }

    /// The body of the answer 200 to a GET, when it is no longer than `limit`.
    ///
    /// - Throws: `unavailable` (`unreachable`, `bad-answer`).
    func get(_ address: String, limit: Int) async throws(KeyCustodyError) -> [UInt8] {
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.minimumTLSVersion = .tlsv12
      tls.trustRoots = trustRoots
      var configuration = HTTPClient.Configuration(
        tlsConfiguration: tls, redirectConfiguration: .disallow,
        timeout: HTTPClient.Configuration.Timeout(connect: .seconds(5), read: .seconds(5)))
      configuration.httpVersion = .http1Only
      configuration.connectionPool.retryConnectionEstablishment = false
      let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
      // Not waited for: it may take as long as a connection that is being made.
      defer { Task.detached { try? await client.shutdown() } }
      var request = HTTPClientRequest(url: address)
      request.headers = ["accept": "application/json", "user-agent": "key-custody"]
      do {
        // Who asks gives up sooner, by a clock of its own.
        let response = try await client.execute(request, deadline: .now() + .seconds(60))
        guard response.status == .ok else {
          throw KeyCustodyError.badAnswer("It answered with status \(response.status.code).")
        }
        var body: [UInt8] = []
        for try await part in response.body {
          guard body.count + part.readableBytes <= limit else {
            throw KeyCustodyError.badAnswer("Its answer is longer than \(limit) bytes.")
          }
          body.append(contentsOf: part.readableBytesView)
        }
        return body
      } catch let error as KeyCustodyError {
        throw error
      } catch {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The issuer can't be reached.",
          remedy: "Whoever runs the network can see whether this host may reach it.", diagnostic: "\(error)")
      }
    }
  }
#else
  /// Stands in where the trait `OIDC` is off: no issuer can be asked.
  struct IssuerConnection: Sendable {
    private let refusal = KeyCustodyError(
      .unsupported, .notOffered,
      "This program was built without the trait 'OIDC', and can't ask an issuer for its keys.",
      remedy: "Give the issuer's keys as a file, or build with the trait.")

    init(caFile: String?) throws(KeyCustodyError) { throw refusal }

    func get(_ address: String, limit: Int) async throws(KeyCustodyError) -> [UInt8] { throw refusal }
  }
#endif

extension KeyCustodyError {
  /// An issuer that answered, but not as it must.
  static func badAnswer(_ what: String, _ cause: KeyCustodyError? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .badAnswer, "The issuer gave no keys that can be used. \(what)",
      remedy: "Whoever runs the issuer can change that.", diagnostic: cause?.debugDescription)
  }
}

extension KeyCustodyError.Reason {
  /// Something outside answered, but not as it must.
  public static let badAnswer = Self("bad-answer")
}
