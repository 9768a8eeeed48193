import Hummingbird
import HummingbirdCore
import HummingbirdTLS
package import KeyCustody
import KeyCustodyServices
import Logging
import NIOCore
import NIOPosix
import NIOSSL
public import ServiceLifecycle

/// Serves the vaults over HTTPS (or HTTP, where something in front of it ends TLS), and the machine's own identity over HTTP on the loopback address, until it is told to
/// stop; then no connection is taken any more and what is being worked on is answered.
public struct VaultApplication: Service {
  /// Where it listens, and by which certificate.
  public struct Binding: Sendable {
    /// Who ends TLS.
    public enum TLS: Sendable, Hashable {
      /// This process, by a certificate followed by those that lead to a trusted one (PEM), and its private key (PEM).
      ///
      /// By SwiftNIO's library, which is no part of the module of FIPS mode: there it is refused.
      case certificate(file: String, keyFile: String)
      /// Something in front of it on the same machine: it speaks HTTP, on a loopback address alone.
      ///
      /// All clients seem to come from that address then, to network rules, the audit log and limits alike.
      case outside
    }
    /// The address to listen on.
    public var address = "127.0.0.1"
    /// The port; 0 for a free one.
    public var port = 8443
    /// Who ends TLS.
    public var tls: TLS
    /// The most connections at once; more wait.
    public var mostConnections = 1024
    /// The most connections at once from one address; what is more is closed at once.
    ///
    /// Of this machine's own too: whoever has a proxy in front, whose address is that of all clients, sets more.
    public var mostConnectionsPerAddress = 256
    /// How long a connection may be idle, and a request's head and its body may each take to arrive, in seconds.
    public var idleSeconds = 60
    /// The port of the machine's own identity, on the loopback address; 0 for a free one, `nil` for none.
    ///
    /// Programs of this machine alone reach it. The limits above are its as well, counted by themselves.
    public var identityPort: Int?

    /// A binding with the defaults above.
    public init(tls: TLS) { self.tls = tls }

    /// Refuses what must not be served so.
    ///
    /// - Parameter isFIPS: whether all cryptography is to be of a FIPS module.
    /// - Throws: `invalidInput` (`bad-configuration-value`).
    package func check(isFIPS: Bool) throws(KeyCustodyError) {
      switch tls {
      case .certificate where isFIPS:
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue,
          "In FIPS mode this server does not end TLS: what it would do that by is no part of the FIPS module.",
          remedy: "Set server.tls to 'outside', and have TLS ended in front of it by what is validated.")
      case .outside where !Self.isLoopback(address):
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue,
          "Where TLS ends outside, the server listens on this machine's own addresses alone, and '\(address)' is none.",
          remedy: "Listen on 127.0.0.1, and have TLS ended on this machine.")
      case .certificate, .outside: return
      }
    }

    private static func isLoopback(_ address: String) -> Bool {
      guard let found = try? SocketAddress(ipAddress: address, port: 0) else { return false }
      return switch found {
      case .v4: address.hasPrefix("127.")
      case .v6: found.ipAddress == "::1"
      case .unixDomainSocket: false
      }
    }
  }

  private let server: VaultServer
  private let binding: Binding
  private let onRunning: @Sendable (_ port: Int, _ identityPort: Int?) async -> Void

  /// An application.
  ///
  /// - Parameter onRunning: told the ports once both listen.
  public init(
    _ server: VaultServer, binding: Binding,
    onRunning: @escaping @Sendable (_ port: Int, _ identityPort: Int?) async -> Void = { _, _ in }
  ) {
    self.server = server
    self.binding = binding
    self.onRunning = onRunning
  }

  /// Serves until the task is cancelled or its service group shuts down gracefully.
  ///
  /// - Throws: a ``KeyCustodyError`` for a certificate that can't be used or a port that is taken.
  public func run() async throws {
    try binding.check(isFIPS: KeyCustody.cryptographicModule.isFIPS)
    let ports = Ports(wanted: binding.identityPort == nil ? 1 : 2, then: onRunning)
    let vaults = try vaultService(ports)
    let executor = LoopExecutor(MultiThreadedEventLoopGroup.singleton)
    try await withGracefulShutdownHandler {
      guard let port = binding.identityPort else {
        return try await withTaskExecutorPreference(executor) { try await vaults.run() }
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: executor) { try await vaults.run() }
        group.addTask { try await self.identityService(port, ports).run() }
        defer { group.cancelAll() }
        try await group.next()
      }
    } onGracefulShutdown: {
      server.readiness.drain()
    }
  }

  private var logger: Logger { server.custody.environment.logger }

  private func vaultService(_ ports: Ports) throws(KeyCustodyError) -> some Service {
    var builder = HTTPServerBuilder.http1(configuration: limits())
    if case .certificate(let file, let keyFile) = binding.tls {
      do { builder = try .tls(builder, tlsConfiguration: try Self.settings(file, keyFile)) } catch {
        throw Self.unusable(file, keyFile, error)
      }
    }
    return Application(
      responder: VaultResponder(server: server, patience: .seconds(binding.idleSeconds)), server: builder,
      configuration: ApplicationConfiguration(
        address: .hostname(binding.address, port: binding.port),
        availableConnectionsDelegate: MaximumAvailableConnections(binding.mostConnections)),
      onServerRunning: { channel in await ports.found(.vaults, channel.localAddress?.port ?? 0) }, logger: logger)
  }

  private var patience: TimeAmount { .seconds(Int64(binding.idleSeconds)) }

  /// What every connection is held to.
  ///
  /// A head that trickles in counts as idle: only what is decoded does not.
  private func limits() -> HTTP1Channel.Configuration {
    let gate = ConnectionGate(most: binding.mostConnectionsPerAddress)
    return HTTP1Channel.Configuration(
      additionalChannelHandlers: [ConnectionGateHandler(gate)], idleTimeout: patience,
      httpDecoderConfiguration: .init(
        maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 100))
  }

  private func identityService(_ port: Int, _ ports: Ports) -> some Service {
    Application(
      responder: ManagedIdentityResponder(server: server), server: .http1(configuration: limits()),
      configuration: ApplicationConfiguration(
        address: .hostname("127.0.0.1", port: port),
        availableConnectionsDelegate: MaximumAvailableConnections(binding.mostConnections)),
      onServerRunning: { channel in await ports.found(.identity, channel.localAddress?.port ?? 0) }, logger: logger)
  }

  /// TLS 1.2 with forward secrecy and authenticated encryption, or TLS 1.3 (SEMANTICS E15, P1).
  private static func settings(_ certificateFile: String, _ keyFile: String) throws -> TLSConfiguration {
    let chain = try NIOSSLCertificate.fromPEMFile(certificateFile)
    let key = try NIOSSLPrivateKey(file: keyFile, format: .pem)
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuiteValues = [
      .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
      .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
      .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
    configuration.applicationProtocols = ["http/1.1"]
    // A peer that doesn't answer our goodbye holds up no shutdown.
    configuration.shutdownTimeout = .seconds(1)
    return configuration
  }

  private static func unusable(
    _ certificateFile: String, _ keyFile: String, _ error: any Error
  ) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue,
      "The certificate '\(certificateFile)' can't be served with the key '\(keyFile)'.",
      remedy: "Give a PEM certificate (its chain after it) and its PEM private key, both readable.",
      diagnostic: "\(error)")
  }
}

/// Collects the ports, and tells once all are known.
private actor Ports {
  enum Use { case vaults, identity }
  private let wanted: Int
  private let then: @Sendable (Int, Int?) async -> Void
  private var found: [Use: Int] = [:]

  init(wanted: Int, then: @escaping @Sendable (Int, Int?) async -> Void) {
    self.wanted = wanted
    self.then = then
  }

  func found(_ use: Use, _ port: Int) async {
    found[use] = port
    guard found.count == wanted, let vaults = found[.vaults] else { return }
    await then(vaults, found[.identity])
  }
}
