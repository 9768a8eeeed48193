import CBaseline
import Foundation
import Hummingbird
import HummingbirdTLS
import Logging
import NIOSSL

/// What this program is started again as: servers to compare with.
enum BaselineServer: String {
  /// Hummingbird that answers a text.
  case hello
  /// C that unwraps with RSA-2048, a thread for each connection.
  case cRSA = "c-rsa"
  /// C that unwraps with AES-256 key wrap.
  case cAES = "c-aes"

  /// Serves, if the command line asks for it: `--serve KIND CERTIFICATE KEY`.
  static func serveIfAsked() async throws {
    let words = CommandLine.arguments
    guard words.count == 5, words[1] == "--serve", let server = Self(rawValue: words[2]) else { return }
    switch server {
    case .hello: try await hello(words[3], words[4])
    case .cRSA: https_serve(words[3], words[4], https_rsa)
    case .cAES: https_serve(words[3], words[4], https_aes)
    }
    throw Unexpected(description: "The server '\(server)' could not go on.")
  }

  func start(_ certificate: String, _ key: String) throws -> ServerProcess {
    try ServerProcess([ServerProcess.programs.bench, "--serve", rawValue, certificate, key])
  }

  /// With the settings that the vault is served by.
  private static func hello(_ certificate: String, _ key: String) async throws {
    let chain = try NIOSSLCertificate.fromPEMFile(certificate)
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
    tls.minimumTLSVersion = .tlsv12
    tls.applicationProtocols = ["http/1.1"]
    let router = Router()
    router.post("hello") { _, _ in "hello" }
    var logger = Logger(label: "hello")
    logger.logLevel = .error
    try await Application(
      router: router, server: .tls(.http1(), tlsConfiguration: tls),
      configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)),
      onServerRunning: { channel in
        print(channel.localAddress?.port ?? 0)
        fflush(nil)
      }, logger: logger
    ).run()
  }
}
