import Foundation
import Hummingbird
import KeyCustody
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyServices
import ServiceLifecycle

/// Keeps notes for many tenants: each tenant's sealed by itself, and under a key of the tenant's own once it wants that.
@main
struct Notes {
  static func main() async throws {
    guard CommandLine.arguments.count == 3, let port = Int(CommandLine.arguments[2]) else {
      throw KeyCustodyError(.invalidInput, .malformed, "usage: Notes CONFIGURATION.json PORT")
    }
    let file = URL(filePath: CommandLine.arguments[1])
    let folder = file.deletingLastPathComponent().path
    let variables = ProcessInfo.processInfo.environment
    let custody = try await KeyCustody.open(
      KeyCustodyConfiguration(json: [UInt8](Data(contentsOf: file)), file: file.path, environment: variables),
      plugins: [MemoryPlugin().plugin, FilePlugin.plugin, PKCS11Plugin.plugin],
      environment: RuntimeEnvironment(baseDirectory: folder, variables: variables))
    let store = try FolderSealedStore(folder: "\(folder)/notes")
    try await store.prepare()
    let application = Application(
      router: router(custody, store),
      configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: port)),
      services: [Conversions(runner: try JobRunner(custody) { _ in [store] })])
    try await application.runService()
    await custody.close()
  }

  static func router(_ custody: KeyCustody, _ store: FolderSealedStore) -> Router<BasicRequestContext> {
    let router = Router()
    let tenant = router.group("tenants/:tenant")
    tenant.post { try await Customer.signUp($1.parameters.require("tenant"), custody) }
    tenant.get("key") { try await json(Customer($0, $1, custody).notes.status()) }
    tenant.put("notes/:note") { request, context in
      let customer = try await Customer(request, context, custody)
      let note = [UInt8](buffer: try await request.body.collect(upTo: 1 << 20))
      try await store.put(note, as: context.parameters.require("note"), in: customer.notes)
      return HTTPResponse.Status.noContent
    }
    tenant.get("notes/:note") { request, context in
      let customer = try await Customer(request, context, custody)
      return ByteBuffer(bytes: try await store.get(context.parameters.require("note"), in: customer.notes))
    }
    tenant.post("key/:change") { request, context in
      let customer = try await Customer(request, context, custody)
      try await customer.perform(context.parameters.require("change", as: Customer.KeyChange.self))
      return try await json(customer.notes.status())
    }
    return router
  }
}

/// Converts stored notes in the background when a tenant turns its key on or off, until the service stops.
struct Conversions: Service {
  let runner: JobRunner
  func run() async throws { await cancelWhenGracefulShutdown { await runner.run() } }
}

/// What KeyCustody refuses, as an answer.
extension KeyCustodyError: @retroactive HTTPResponseError, @retroactive ResponseGenerator {
  /// Whose fault it is.
  public var status: HTTPResponse.Status {
    switch code {
    case .denied, .disabled: .forbidden
    case .notFound: .notFound
    case .invalidInput where reason == .alreadyExists || reason == .wrongResourceState: .conflict
    case .invalidInput, .unsupported: .badRequest
    case .unavailable, .busy, .timeout, .credentialRejected: .serviceUnavailable
    case .integrityFailure, .fault: .internalServerError
    }
  }

  /// The reason, and what would help.
  public func response(from request: Request, context: some RequestContext) throws -> Response {
    context.logger.info("refused", metadata: ["error": "\(debugDescription)"])
    return try json(["code": code.rawValue, "reason": reason.rawValue, "message": message, "remedy": remedy], status)
  }
}

func json(_ value: some Encodable, _ status: HTTPResponse.Status = .ok) throws -> Response {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  let body = ByteBuffer(bytes: try encoder.encode(value))
  return Response(status: status, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: body))
}
