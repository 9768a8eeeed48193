import CBaseline

/// Unwrapping over HTTPS, authenticated, authorised and audited, against the same in C, the bare calls, and a greeting.
func serverRows() async throws {
  let folder = try TemporaryFolder()
  defer { folder.remove() }
  let deployment = try Deployment(in: folder)
  defer { deployment.server.stop() }
  let rsa = try deployment.unwrapping("rsa", "\"kty\":\"RSA\",\"key_size\":2048", "RSA-OAEP-256")
  let aes = try deployment.unwrapping("aes", "\"kty\":\"oct\",\"key_size\":256", "A256KW")
  let rows = try ServerRows(deployment: deployment)
  limit("R11", "idle", [try deployment.server.resident], atMost: 60, unit: "MiB")
  try rows.compare("rsa", rsa, with: .cRSA, atLeast: 0.8, https_rsa, bareCount: 100)
  try rows.compare("aes-kw", aes, with: .cAES, atLeast: 0.2, https_aes, bareCount: 10_000)
  try await rows.compareWithGreeting(aes)
}

/// The rows of one deployment.
private struct ServerRows {
  static let connections = 16
  let deployment: Deployment
  let load: Load

  init(deployment: Deployment) throws {
    self.deployment = deployment
    load = try deployment.load(Self.connections)
  }

  private var number: Int { Options.current.isQuick ? 800 : 8000 }
  private var certificate: String { "\(deployment.folder.path)/tls/server.pem" }
  private var key: String { "\(deployment.folder.path)/tls/server-key.pem" }

  /// One algorithm against C: processor time, the median answer and the slowest; and the bare calls.
  func compare(
    _ name: String, _ request: String, with baseline: BaselineServer, atLeast: Double, _ job: https_job, bareCount: Int
  ) throws {
    let server = try baseline.start(certificate, key)
    defer { server.stop() }
    let other = try Load("localhost", port: server.port, connections: Self.connections)
    var pairs: [(ours: Burst, baseline: Burst, bare: Double)] = []
    // The first round is thrown away.
    for round in 0...Options.current.rounds {
      // Whoever comes second finds the processor in another state: take turns.
      let first = round.isMultiple(of: 2) ? try load.run(request, number, on: deployment.server) : nil
      let second = try other.run(request, number, on: server)
      let ours = try first ?? load.run(request, number, on: deployment.server)
      let bare = Double(https_bare(job, Int32(bareCount))) / Double(bareCount)
      if round > 0 { pairs.append((ours, second, bare)) }
    }
    try report(
      "R11", "\(name)-processor", "c", goal: .speed(atLeast: atLeast),
      pairs.map { ($0.ours.processor, $0.baseline.processor) })
    try report(
      "R11", "\(name)-processor-bare", "openssl", goal: .comparison, pairs.map { ($0.ours.processor, $0.bare) })
    try report("R11", "\(name)-p50", "c", goal: .comparison, pairs.map { ($0.ours.half, $0.baseline.half) })
    try report("R11", "\(name)-p99", "c", goal: .time(atMost: 3), pairs.map { ($0.ours.most, $0.baseline.most) })
  }

  /// The cheapest operation against the least that the HTTP server can do.
  func compareWithGreeting(_ request: String) async throws {
    let hello = try BaselineServer.hello.start(certificate, key)
    defer { hello.stop() }
    let other = try Load("localhost", port: hello.port, connections: Self.connections)
    let greeting = Load.post("/hello", "localhost", String(repeating: "x", count: 100), [])
    try await row(
      "R11", "aes-kw-processor-hello", "hummingbird", goal: .time(atMost: 2),
      ours: { try load.run(request, number, on: deployment.server).processor },
      baseline: { try other.run(greeting, number, on: hello).processor })
  }
}
