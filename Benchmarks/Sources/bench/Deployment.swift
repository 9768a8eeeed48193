import CBaseline
import Foundation

/// `keycustody serve` on a data folder of its own, with keys to unwrap by.
struct Deployment {
  let folder: TemporaryFolder
  let server: ServerProcess
  private let told: [String: String]
  private let port: Int
  private let domain = "vault.localhost"

  /// Starts it.
  ///
  /// The folder may hold a deployment already.
  init(in folder: TemporaryFolder) throws {
    self.folder = folder
    server = try ServerProcess([
      ServerProcess.programs.keycustody, "serve", "--data", folder.path, "--port", "0", "--output", "json",
    ])
    port = server.port
    let file = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/bootstrap.json"))
    told = try JSONSerialization.jsonObject(with: file) as? [String: String] ?? [:]
  }

  private var vault: String { "main.\(domain)" }

  func load(_ connections: Int) throws -> Load { try Load(vault, port: server.port, connections: connections) }

  /// Makes a key, wraps something, and answers the request that unwraps it.
  func unwrapping(_ key: String, _ type: String, _ algorithm: String) throws -> String {
    let load = try load(1)
    let token = try token(load)
    _ = try ask(load, token, "/keys/\(key)/create", "{\(type)}")
    let secret = String(repeating: "QUFB", count: 10) + "QUE"
    let wrapped = try ask(
      load, token, "/keys/\(key)/wrapkey", "{\"alg\":\"\(algorithm)\",\"value\":\"\(secret)\"}")
    guard let name = wrapped["kid"] as? String, let value = wrapped["value"] as? String,
      let path = URLComponents(string: name)?.path
    else { throw Unexpected(description: "A key could not be wrapped: \(wrapped)") }
    let body = "{\"alg\":\"\(algorithm)\",\"value\":\"\(value)\"}"
    let unwrapped = try ask(load, token, "\(path)/unwrapkey", body)
    guard unwrapped["value"] as? String == secret else { throw Unexpected(description: "Unwrapped wrongly.") }
    return request("\(path)/unwrapkey", body, token)
  }

  private func token(_ load: Load) throws -> String {
    let form = [
      "grant_type=client_credentials", "client_id=\(told["clientID"] ?? "")",
      "client_secret=\(told["clientSecret"] ?? "")", "scope=https%3A%2F%2F\(domain)%3A\(port)%2F.default",
    ].joined(separator: "&")
    let path = "/\(told["tenant"] ?? "")/oauth2/v2.0/token"
    let answer = try load.ask(
      Load.post(path, "login.\(domain):\(port)", form, ["Content-Type: application/x-www-form-urlencoded"]))
    guard let token = answer["access_token"] as? String else {
      throw Unexpected(description: "There is no token: \(answer)")
    }
    return token
  }

  private func request(_ path: String, _ body: String, _ token: String) -> String {
    Load.post(
      "\(path)?api-version=7.6", "\(vault):\(port)", body,
      ["Content-Type: application/json", "Accept: application/json", "Authorization: Bearer \(token)"])
  }

  private func ask(_ load: Load, _ token: String, _ path: String, _ body: String) throws -> [String: Any] {
    try load.ask(request(path, body, token))
  }
}

/// Connections to a server.
final class Load {
  private let connections: OpaquePointer
  let count: Int

  init(_ host: String, port: Int, connections: Int) throws {
    guard let opened = load_open(host, Int32(port), Int32(connections)) else {
      throw Unexpected(description: "The server on port \(port) takes no connections.")
    }
    self.connections = opened
    count = connections
  }

  deinit { load_close(connections) }

  static func post(_ path: String, _ host: String, _ body: String, _ headers: [String]) -> String {
    let head = ["POST \(path) HTTP/1.1", "Host: \(host)", "Content-Length: \(body.utf8.count)"] + headers
    return head.joined(separator: "\r\n") + "\r\n\r\n" + body
  }

  /// Asks once, for JSON.
  func ask(_ request: String) throws -> [String: Any] {
    var body = [CChar](repeating: 0, count: 16_384)
    let status = load_ask(connections, request, &body, body.count)
    let text = body.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    guard status == 200, let json = try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any] else {
      throw Unexpected(description: "Answered \(status): \(String(decoding: text, as: UTF8.self))")
    }
    return json
  }

  /// Sends a request many times; answers the server's processor time for each, and how long they took.
  func run(_ request: String, _ number: Int, on server: ServerProcess) throws -> Burst {
    var times = [Int64](repeating: 0, count: number / count * count)
    let start = process_time(server.id)
    guard start >= 0, load_run(connections, request, Int32(times.count), &times) == 0 else {
      throw Unexpected(description: "A request was not answered by 200.")
    }
    let processor = Double(process_time(server.id) - start) / Double(times.count)
    times.sort()
    return Burst(
      processor: processor, half: Double(times[times.count / 2]), most: Double(times[times.count * 99 / 100]))
  }
}

/// What many requests took, each, in nanoseconds.
struct Burst {
  /// Of the server's processor time.
  let processor: Double
  /// Until the answer: the median, and the time that one in a hundred takes longer than.
  let half, most: Double
}
