import HTTPTypes
import Hummingbird
import KeyCustody
import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Serves the machine's own identity over HTTP on the loopback address.
struct ManagedIdentityResponder: HTTPResponder {
  let server: VaultServer

  func respond(to request: Request, context: VaultRequestContext) async throws -> Response {
    let routes = ManagedIdentityRoutes(
      custody: server.custody, settings: server.settings, attempts: server.attempts)
    let parsed: WireRequest
    do throws(KeyCustodyError) {
      parsed = try WireRequest(request.head, body: [], clientAddress: context.remoteAddress?.ipAddress, id: "-")
    } catch { return VaultResponder.response(WireError(error).response) }
    let ends = (context.remoteAddress, context.channel.localAddress)
    let answer = await routes.respond(parsed) {
      // The table of sockets may be long, and reading it blocks.
      (try? await server.files.run { () throws(KeyCustodyError) in PeerProcess.isOwn(peer: ends.0, local: ends.1) })
        ?? false
    }
    // Nothing here takes a body: what comes as one is not read, and the connection is of no use any more.
    let isLast = VaultResponder.isLast(request.head) || VaultResponder.hasBody(request.head)
    return VaultResponder.response(answer, isLast: isLast, over: context.channel)
  }
}

/// Whose process is at the other end of a connection over the loopback address, as the kernel's table of sockets has
/// it (`/proc/net/tcp`, proc(5)).
enum PeerProcess {
  /// Whether it runs under this process's own user, or as root; a socket that isn't in the table is nobody's.
  static func isOwn(peer: SocketAddress?, local: SocketAddress?) -> Bool {
    guard let peer = peer.flatMap(written), let local = local.flatMap(written) else { return false }
    let users = users(from: peer, to: local)
    guard users.count == 1, let user = users.first else { return false }
    return user == 0 || user == geteuid()
  }

  /// The users of living sockets that are bound to one address and connected to the other, both with their ports.
  ///
  /// One that waits for its end belongs to nobody any more, and the table gives it to root: only what is established,
  /// and has a file, counts.
  private static func users(from peer: String, to local: String) -> Set<UInt32> {
    let established = "01"
    var found: Set<UInt32> = []
    guard let file = unsafe fopen("/proc/net/tcp", "re") else { return [] }
    defer { unsafe fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var room = 0
    defer { unsafe free(line) }
    while unsafe getline(&line, &room, file) > 0 {
      guard let text = unsafe line.map({ unsafe String(cString: $0) }) else { break }
      // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
      let fields = text.split(separator: " ", omittingEmptySubsequences: true)
      guard fields.count > 9, fields[1] == peer, fields[2] == local, fields[3] == established, fields[9] != "0",
        let user = UInt32(fields[7])
      else { continue }
      found.insert(user)
    }
    return found
  }

  /// An IPv4 address and its port as the table writes them: the address as a number of the machine's own byte order.
  private static func written(_ address: SocketAddress) -> String? {
    let octets = (address.ipAddress ?? "").split(separator: ".").compactMap { UInt8($0) }
    guard octets.count == 4, let port = address.port else { return nil }
    // As they lie in memory, and then read as one number.
    let bytes = octets.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (8 * UInt32($1.offset)) }
    let number = String(UInt32(littleEndian: bytes), radix: 16, uppercase: true)
    let end = String(port, radix: 16, uppercase: true)
    return String(repeating: "0", count: 8 - number.count) + number + ":" + String(repeating: "0", count: 4 - end.count)
      + end
  }
}
