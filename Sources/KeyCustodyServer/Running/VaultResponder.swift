import HTTPTypes
import Hummingbird
import KeyCustody
import NIOCore

/// Reads a request within its limits, hands it to the server, and writes the answer.
struct VaultResponder: HTTPResponder {
  let server: VaultServer
  /// How long a body may take to arrive.
  let patience: Duration
  private let time = SystemTime()
  private let watch = DeadlineWatch(SystemTime())

  init(server: VaultServer, patience: Duration) {
    self.server = server
    self.patience = patience
  }

  func respond(to request: Request, context: VaultRequestContext) async throws -> Response {
    let channel = context.channel
    // A byte now and then would count as being busy.
    let timer = watch.add(time.running() + patience) { channel.close(promise: nil) }
    let executor = LoopExecutor(channel.eventLoop)
    return await withTaskExecutorPreference(executor) {
      await Self.answer(request, from: context.remoteAddress, by: server, over: channel, on: executor) {
        watch.remove(timer)
      }
    }
  }

  /// - Parameters:
  ///   - channel: the connection, which is closed where it is of no use any more; `nil` where it is another's.
  ///   - executor: where it is worked on; `nil` for anywhere.
  ///   - arrived: told when no more of the request is waited for.
  static func answer(
    _ request: Request, from address: SocketAddress?, by server: VaultServer, over channel: (any Channel)? = nil,
    on executor: (any TaskExecutor)? = nil, arrived: () -> Void = {}
  ) async -> Response {
    var body: [UInt8] = []
    var isLast = isLast(request.head)
    let room: Int
    switch await server.room(for: request.head, on: executor) {
    case .bytes(let count): room = count
    case .answer(let answer):
      arrived()
      return response(answer, isLast: true, over: channel)
    }
    if room > 0 {
      defer { arrived() }
      do {
        body = Array(buffer: try await request.body.collect(upTo: room))
      } catch is NIOTooManyBytesError {
        let error = WireError(.contentTooLarge, "BadParameter", "This request has at most \(room) bytes of body.")
        return response(error.response, isLast: true, over: channel)
      } catch {
        let error = WireError(.badRequest, "BadParameter", "The request's body did not arrive whole.")
        return response(error.response, isLast: true, over: channel)
      }
    } else {
      arrived()
      // Nobody reads it; a long one is not waited for.
      isLast = isLast || hasLongBody(request.head)
    }
    // Who comes over something without addresses is not this process itself, which needs none.
    var answer = await server.respond(to: request.head, body: body, from: address?.ipAddress ?? "unknown", on: executor)
    // An answer to HEAD has none, and what came all the same would be taken for the next one.
    if request.method == .head { answer.body = [] }
    return response(answer, isLast: isLast, over: channel)
  }

  /// Whether the client wants the connection closed; in any case, as RFC 9110 has it.
  static func isLast(_ head: HTTPRequest) -> Bool {
    (head.headerFields[.connection] ?? "").split(separator: ",").contains {
      $0.lowercased().split(separator: " ") == ["close"]
    }
  }

  /// Whether anything comes after the head.
  static func hasBody(_ head: HTTPRequest) -> Bool {
    head.headerFields[.transferEncoding] != nil || head.headerFields[.contentLength].map { $0 != "0" } ?? false
  }

  private static func hasLongBody(_ head: HTTPRequest) -> Bool {
    guard head.headerFields[.transferEncoding] == nil else { return true }
    guard let length = head.headerFields[.contentLength] else { return false }
    return Int(length).map { $0 > VaultServer.strangersBody } ?? true
  }

  /// - Parameter isLast: whether the connection is of no use any more.
  static func response(
    _ answer: WireResponse, isLast: Bool = false, over channel: (any Channel)? = nil
  ) -> Response {
    var headers = answer.headers
    let buffer = ByteBuffer(bytes: answer.body)
    guard isLast else {
      return Response(
        status: answer.status, headers: headers,
        body: answer.body.isEmpty ? ResponseBody() : ResponseBody(byteBuffer: buffer))
    }
    headers[.connection] = "close"
    let body = ResponseBody(contentLength: answer.body.count) { writer in
      if buffer.readableBytes > 0 { try await writer.write(buffer) }
      try await writer.finish(nil)
      // What still comes is not waited for.
      channel?.close(promise: nil)
    }
    return Response(status: answer.status, headers: headers, body: body)
  }
}
