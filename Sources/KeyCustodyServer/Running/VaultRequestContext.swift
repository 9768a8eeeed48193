public import Hummingbird
import NIOCore

/// The context of a request, which knows the peer's address.
public struct VaultRequestContext: RequestContext, RemoteAddressRequestContext {
  /// Hummingbird's own part.
  public var coreContext: CoreRequestContextStorage
  let channel: any Channel
  /// The peer.
  public var remoteAddress: SocketAddress? { channel.remoteAddress }

  /// A context of a request that came by a channel.
  public init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}
