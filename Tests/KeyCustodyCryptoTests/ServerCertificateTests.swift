import Foundation
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// The files of a server's certificate: made, kept, renewed, and whole whatever happens.
@Suite("A server's certificate files")
struct ServerCertificateTests {
  /// A clock that stands.
  private struct Standing: TimeSource {
    let moment: Timestamp
    func now() -> Timestamp { moment }
    func running() -> Duration { .zero }
    func wait(until deadline: Duration) async throws(CancellationError) {}
  }

  private static let files = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"]
  private static let damaged = KeyCustodyError(.integrityFailure, .damaged, "")
  private static let start = Timestamp(seconds: 1_800_000_000)

  /// One folder, and calls on it.
  private struct Subject {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @discardableResult
    func prepare(
      after days: Int = 0, names: [String] = ["kv.test", "*.kv.test"], addresses: [String] = ["127.0.0.1"]
    ) throws -> ServerCertificate {
      let time = Standing(moment: ServerCertificateTests.start + .seconds(days * 86400))
      return try ServerCertificate.prepare(
        in: folder.path, names: names, addresses: addresses, time: time, random: SystemRandom())
    }

    func contents() -> [String: [UInt8]] {
      var found: [String: [UInt8]] = [:]
      for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] {
        found[name] = (try? folder.read(name)) ?? []
      }
      return found
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: folder.appending(name)) }

    /// Whether the four files fit together, and nothing else is there.
    func isSound() throws -> Bool {
      let chain = try Certificate.read(pem: try folder.read("server.pem"))
      let authority = try #require(try Certificate.read(pem: try folder.read("ca.pem")).first)
      let key = try SoftwareKey.read(pem: SecretBytes(copying: try folder.read("server-key.pem")), as: .ec(.p256))
      let authorityKey = try SoftwareKey.read(pem: SecretBytes(copying: try folder.read("ca-key.pem")), as: .ec(.p256))
      return chain.count == 2 && chain[0].isIssued(by: authority) && chain[1].isSame(as: authority)
        && chain[0].belongs(to: key) && authority.belongs(to: authorityKey)
        && contents().keys.sorted() == ServerCertificateTests.files.sorted()
    }
  }

  @Test("The first call makes four files, keys for their owner alone, and later calls keep them")
  func making() throws {
    let subject = try Subject()
    let made = try subject.prepare()
    #expect(made.caFile == subject.folder.appending("ca.pem"))
    #expect(made.certificateFile == subject.folder.appending("server.pem"))
    #expect(made.keyFile == subject.folder.appending("server-key.pem"))
    #expect(try subject.isSound())
    for name in Self.files {
      let attributes = try FileManager.default.attributesOfItem(atPath: subject.folder.appending(name))
      let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue
      #expect(mode == (name.hasSuffix("-key.pem") ? 0o600 : 0o644), "\(name)")
    }
    let before = subject.contents()
    #expect(try subject.prepare() == made)
    // The order and the case of the names say nothing.
    try subject.prepare(after: 365, names: ["*.KV.test", "kv.test", "kv.test"])
    #expect(subject.contents() == before)
  }

  @Test("The server's certificate is renewed within 30 days of its end, the authority's never")
  func renewal() throws {
    let subject = try Subject()
    try subject.prepare()
    let before = subject.contents()
    try subject.prepare(after: 365)
    #expect(subject.contents() == before)
    try subject.prepare(after: 366)
    let after = subject.contents()
    for name in Self.files { #expect((after[name] == before[name]) == name.hasPrefix("ca"), "\(name)") }
    #expect(try subject.isSound())
    // A server that stood still for years.
    try subject.prepare(after: 3000)
    #expect(try subject.isSound())
    #expect(subject.contents()["ca.pem"] == before["ca.pem"])
  }

  @Test("Near its authority's end the server's certificate ends with it, and is not made anew at every call")
  func authorityEnd() throws {
    let subject = try Subject()
    try subject.prepare()
    try subject.prepare(after: 3640)
    let before = subject.contents()
    #expect(try subject.isSound())
    try subject.prepare(after: 3651)
    #expect(subject.contents() == before)
    #expect(throws: Self.damaged) { try subject.prepare(after: 3653) }
    #expect(subject.contents() == before)
  }

  @Test("Other names make another certificate under the same authority")
  func otherNames() throws {
    let subject = try Subject()
    try subject.prepare()
    var before = subject.contents()
    let others: [([String], [String])] = [
      (["kv.test"], ["127.0.0.1"]), (["kv.test"], ["::1"]), ([], ["::1"]), (["other.test"], []),
    ]
    for (names, addresses) in others {
      try subject.prepare(names: names, addresses: addresses)
      let after = subject.contents()
      for name in Self.files { #expect((after[name] == before[name]) == name.hasPrefix("ca"), "\(name)") }
      let certificate = try #require(try Certificate.read(pem: try subject.folder.read("server.pem")).first)
      #expect(certificate.names.map(\.description) == names + addresses)
      before = after
    }
    for (names, addresses) in [([], []), (["a b"], []), ([], ["kv.test"]), (["127.0.0.1"], [])]
      as [([String], [String])]
    {
      let error = #expect(throws: KeyCustodyError.self) { try subject.prepare(names: names, addresses: addresses) }
      #expect(error?.code == .invalidInput)
    }
    #expect(subject.contents() == before)
  }

  @Test("A damaged authority is an error with a remedy, and nothing is replaced", arguments: ["ca.pem", "ca-key.pem"])
  func damagedAuthority(name: String) throws {
    let subject = try Subject()
    try subject.prepare()
    let before = subject.contents()
    let whole = try #require(before[name])
    let other = try Subject()
    try other.prepare()
    var flipped = whole
    flipped[whole.count / 2] = flipped[whole.count / 2] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
    let server = try #require(before["server.pem"])
    for bytes in [[], Array(whole.prefix(whole.count / 2)), flipped, try other.folder.read(name), server] {
      try subject.folder.write(bytes, to: name)
      let now = subject.contents()
      let error = #expect(throws: Self.damaged) { try subject.prepare() }
      #expect(error?.remedy.contains("backup") == true)
      #expect(subject.contents() == now)
    }
    try subject.remove(name)
    #expect(throws: Self.damaged) { try subject.prepare() }
    #expect(subject.contents()[name] == nil)
    // What the remedy says helps.
    try subject.folder.write(whole, to: name)
    try subject.prepare()
    #expect(subject.contents() == before)
  }

  @Test("A damaged certificate or key of the server is made anew", arguments: ["server.pem", "server-key.pem"])
  func damagedServer(name: String) throws {
    let subject = try Subject()
    try subject.prepare()
    let whole = try subject.folder.read(name)
    let other = try Subject()
    try other.prepare()
    for bytes in [[], Array(whole.prefix(whole.count / 2)), try other.folder.read(name)] {
      try subject.folder.write(bytes, to: name)
      try subject.prepare()
      #expect(try subject.isSound())
    }
    try subject.remove(name)
    try subject.prepare()
    #expect(try subject.isSound())
  }

  @Test("A call that ended anywhere is completed by the next, and its half-written files are removed")
  func interruptions() throws {
    let whole = try Subject()
    try whole.prepare()
    let text = whole.contents()
    // Every order in which the files come to their places, cut after each; and a file half-written beside its place.
    let order = ["ca-key.pem", "ca.pem", "server-key.pem", "server.pem"]
    for reached in 0...order.count {
      for (index, name) in order.enumerated() where index <= reached {
        let subject = try Subject()
        for done in order.prefix(reached) { try subject.folder.write(try #require(text[done]), to: done) }
        try subject.folder.write(Array(try #require(text[name]).prefix(20)), to: "\(name).part")
        try subject.prepare()
        #expect(try subject.isSound(), "\(reached) \(name)")
        // What was in its place before stays there.
        for done in order.prefix(min(reached, 2)) { #expect(subject.contents()[done] == text[done]) }
      }
    }
  }

  @Test("What can't be written leaves everything as it was")
  func failingWrites() throws {
    let subject = try Subject()
    try subject.prepare()
    let before = subject.contents()
    for name in ["server.pem", "server-key.pem"] {
      // No file can be made where a folder is.
      let obstacle = subject.folder.appending("\(name).part")
      try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: false)
      let error = #expect(throws: KeyCustodyError.self) { try subject.prepare(names: ["other.test"]) }
      #expect(error?.code == .unavailable)
      try FileManager.default.removeItem(atPath: obstacle)
      #expect(subject.contents() == before)
    }
    #expect(throws: KeyCustodyError(.notFound, .unreachable, "")) {
      try ServerCertificate.prepare(
        in: subject.folder.appending("no/such"), names: ["a.test"], addresses: [], time: Standing(moment: Self.start),
        random: SystemRandom())
    }
  }

  @Test("A key that others may read is refused", arguments: ["ca-key.pem", "server-key.pem"])
  func openKeys(name: String) throws {
    let subject = try Subject()
    try subject.prepare()
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o640], ofItemAtPath: subject.folder.appending(name))
    let error = #expect(throws: KeyCustodyError.self) { try subject.prepare() }
    #expect(error?.code == .denied && error?.remedy.contains("chmod 600") == true)
  }

  @Test("Calls at the same time agree on one authority and one certificate")
  func together() async throws {
    let subject = try Subject()
    let path = subject.folder.path
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<6 {
        group.addTask {
          _ = try ServerCertificate.prepare(
            in: path, names: ["kv.test"], addresses: [], time: Standing(moment: Self.start), random: SystemRandom())
        }
      }
      try await group.waitForAll()
    }
    #expect(try subject.isSound())
  }

  @Test("A TLS client that trusts the authority alone takes the server for a host under the wildcard")
  func handshake() throws {
    let folder = try TemporaryFolder()
    let made = try ServerCertificate.prepare(
      in: folder.path, names: ["*.vaults.test"], addresses: ["127.0.0.1"], time: SystemTime(), random: SystemRandom())
    // One process does it all: a child that lives on would hold the pipes of what other tests run meanwhile. And it kills
    // the server outright: what a thread of a test starts may have the milder signals blocked.
    let script = """
      cd "$1" || exit 9
      mkfifo said || exit 9
      openssl s_server -accept 127.0.0.1:0 -www -cert server.pem -cert_chain server.pem -key server-key.pem \\
        </dev/null >said 2>/dev/null &
      trap 'kill -KILL $!' EXIT
      exec 3<said
      while read -r line <&3; do case $line in ACCEPT*) break ;; esac; done
      attempt() {
        openssl s_client -connect "127.0.0.1:${line##*:}" -CAfile ca.pem -no-CApath -no-CAstore -x509_strict \\
          -verify_return_error -servername my.vaults.test "$@" </dev/null >answer 2>&1
        echo "$2: $? $(grep -c 'Verify return code: 0 (ok)' answer | sed 's/^[1-9].*/ok/') $(grep '^Verified peer' answer)"
      }
      attempt -verify_hostname my.vaults.test
      attempt -verify_ip 127.0.0.1
      attempt -verify_hostname my.other.test
      attempt -verify_hostname a.b.vaults.test
      """
    let run = try Executable(at: "/bin/sh").run(["-c", script, "sh", folder.path])
    let lines = run.output.split(separator: "\n").map(String.init)
    try #require(lines.count == 4, "\(run.output)")
    #expect(lines[0] == "my.vaults.test: 0 ok Verified peername: *.vaults.test")
    #expect(lines[1].hasPrefix("127.0.0.1: 0 ok"))
    #expect(lines[2].hasPrefix("my.other.test: 1 0"))
    #expect(lines[3].hasPrefix("a.b.vaults.test: 1 0"))
    #expect(made.certificateFile == folder.appending("server.pem"))
  }
}
