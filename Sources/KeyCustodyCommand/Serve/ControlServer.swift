#if CommandLine && Server
  import ArgumentParser
  import HTTPTypes
  import Hummingbird
  import KeyCustody
  import KeyCustodyServices
  import NIOCore
  import ServiceLifecycle

  /// Runs commands for this user's other processes, asked over a socket in the data folder, which is this user's alone.
  struct ControlServer: Service {
    let folder: DataFolder
    let custody: KeyCustody

    func run() async throws {
      let path = try ControlSocket.shortened(folder)
      defer { ControlSocket.remove(folder) }
      try await Application(
        responder: Responder(custody: custody),
        configuration: ApplicationConfiguration(address: .unixDomainSocket(path: path)),
        onServerRunning: { _ in ControlSocket.restrict(folder) }, logger: custody.environment.logger
      ).run()
    }

    private struct Responder: HTTPResponder {
      let custody: KeyCustody

      func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        guard request.method == .post, request.uri.path == ControlSocket.commandPath,
          let body = try? await request.body.collect(upTo: ControlSocket.largestMessage),
          let asked = try? JSON(Array(buffer: body)), let words = asked["arguments"]?.array?.compactMap(\.string),
          let directory = asked["directory"]?.string
        else { return Response(status: .badRequest) }
        let input = asked["input"]?.string.flatMap { [UInt8](base64URL: $0) } ?? []
        let running = Running(custody: custody, directory: directory, input: input, printed: Running.Printed())
        let status = await Running.$current.withValue(running) { await Self.run(words) }
        let answer: JSON = [
          "status": .integer(Int64(status)), "output": .string(running.printed[1]),
          "error": .string(running.printed[2]),
        ]
        return Response(
          status: .ok, headers: [.contentType: "application/json", .connection: "close"],
          body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.bytes)))
      }

      private static func run(_ words: [String]) async -> Int32 {
        do {
          var command = try Main.parseAsRoot(words)
          guard var asynchronous = command as? any AsyncParsableCommand else {
            try command.run()
            return 0
          }
          try await asynchronous.run()
          return 0
        } catch {
          let text = Main.fullMessage(for: error)
          let status = Main.exitCode(for: error)
          if !text.isEmpty { Process.write(text + "\n", to: status.isSuccess ? 1 : 2) }
          return status.rawValue
        }
      }
    }
  }
#endif
