public import Hummingbird

/// Mounts the vaults in an application of yours: what is for one of their hosts is answered here, the rest goes on.
///
/// ```swift
/// let router = Router(context: VaultRequestContext.self)
/// router.add(middleware: VaultMiddleware(server))
/// ```
public struct VaultMiddleware<Context: RemoteAddressRequestContext>: RouterMiddleware {
  private let server: VaultServer

  /// Mounts a server.
  public init(_ server: VaultServer) { self.server = server }

  /// Answers what is for a vault's host or the token endpoint's.
  public func handle(
    _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
  ) async throws -> Response {
    guard server.serves(host: request.head.authority ?? "") else { return try await next(request, context) }
    return await VaultResponder.answer(request, from: context.remoteAddress, by: server)
  }
}
