import HTTPTypes
import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import NIOCore
import ServiceLifecycle
import Testing

@testable import KeyCustodyServer

@Suite("Over sockets", .timeLimit(.minutes(10)))
struct SocketTests {
  @Test("A connection is kept for the next request; what comes by it is answered in order")
  func keepAlive() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await ListeningServer.run(bench) { server in
      try await server.connect { connection in
        for _ in 0..<5 {
          try await connection.ask("GET", "/keys/aes?api-version=7.4", token: bench.owner)
          #expect(try await connection.reply()?.status == 200)
        }
        // Two at once.
        try await connection.ask("GET", "/keys/aes?api-version=7.4", token: bench.owner)
        try await connection.ask("GET", "/keys/absent?api-version=7.4", token: bench.owner)
        #expect(try await connection.reply()?.status == 200)
        #expect(try await connection.reply()?.status == 404)
        // As the SDK does: the first without a token, then with one and a body.
        try await connection.ask("POST", "/keys/aes/wrapkey?api-version=7.4", token: "")
        let challenge = try await connection.reply()
        #expect(challenge?.status == 401 && challenge?.headers["www-authenticate"]?.hasPrefix("Bearer ") ?? false)
        let body = String(decoding: ServerBench.wrapBody.bytes, as: UTF8.self)
        try await connection.ask("POST", "/keys/aes//wrapkey?api-version=7.4", token: bench.owner, body: body)
        let wrapped = try await connection.reply()
        #expect(wrapped?.status == 200 && wrapped?.json?["value"] != nil)
      }
      #expect(bench.audit.events.contains { $0.source == "127.0.0.1" }, "the peer's address is the record's source")
    }
  }

  @Test("Connection: close is honoured, in any case", arguments: ["close", "Close", "keep-alive, CLOSE"])
  func close(_ value: String) async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench) { server in
      try await server.connect { connection in
        try await connection.ask("GET", "/keys?api-version=7.4", token: bench.owner, headers: ["Connection:\(value)"])
        let reply = try await connection.reply()
        #expect(reply?.status == 200 && reply?.headers["connection"] == "close")
        #expect(await connection.isClosed())
      }
    }
  }

  @Test("A body over the limit is 413, and the connection ends although more comes")
  func largeBody() async throws {
    let bench = try await ServerBench { $0.largestBody = 1000 }
    try await ListeningServer.run(bench) { server in
      let path = "/secrets/one?api-version=7.4"
      for length in ["Content-Length:1000000000", "Transfer-Encoding:chunked"] {
        try await server.connect { connection in
          try await connection.write(
            "PUT \(path) HTTP/1.1\r\nHost:kv1.vault.test\r\n\(length)\r\nAuthorization:Bearer \(bench.owner)\r\n\r\n")
          let piece = String(repeating: "x", count: 600)
          for _ in 0..<3 { try await connection.write(length.hasPrefix("T") ? "258\r\n\(piece)\r\n" : piece) }
          let reply = try await connection.reply()
          #expect(reply?.status == 413 && reply?.headers["connection"] == "close", "\(length)")
          #expect(await connection.isClosed())
        }
      }
      try await server.connect { connection in
        let body = "{\"value\":\"" + String(repeating: "x", count: 988) + "\"}"
        #expect(body.utf8.count == 1000)
        try await connection.ask("PUT", path, token: bench.owner, body: body)
        #expect(try await connection.reply()?.status == 200, "at the limit")
      }
      // Nor is a long one of a token that is not good.
      try await server.connect { connection in
        try await connection.write(
          "PUT \(path) HTTP/1.1\r\nHost:kv1.vault.test\r\nContent-Length:20000\r\nAuthorization:Bearer x.y.z\r\n\r\nxxx"
        )
        let reply = try await connection.reply()
        #expect(reply?.status == 401 && reply?.headers["www-authenticate"] != nil)
        #expect(await connection.isClosed())
      }
      // Without a token a body is not looked at, nor read to its end.
      try await server.connect { connection in
        try await connection.write(
          "PUT \(path) HTTP/1.1\r\nHost:kv1.vault.test\r\nContent-Length:1000000000\r\n\r\nxxx")
        #expect(try await connection.reply()?.status == 401)
        #expect(await connection.isClosed())
      }
    }
  }

  @Test("A head over the limit is refused, and the connection ends")
  func largeHead() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench) { server in
      let heads = [
        ["x-long:\(String(repeating: "x", count: 17 << 10))"],
        (0..<5).map { "x-\($0):\(String(repeating: "x", count: 9 << 10))" },
        (0..<200).map { "x-\($0):x" }, ["no colon here"], ["x y:z"],
      ]
      for headers in heads {
        try await server.connect { connection in
          try? await connection.ask("GET", "/keys?api-version=7.4", token: bench.owner, headers: headers)
          let reply = try await connection.reply()
          #expect(reply == nil || reply?.status == 400 || reply?.status == 431, "\(headers[0].prefix(20))")
          #expect(await connection.isClosed())
        }
      }
      try await server.connect { connection in
        let path = "/keys?api-version=7.4&x=\(String(repeating: "x", count: 5000))"
        try await connection.ask("GET", path, token: bench.owner)
        #expect(try await connection.reply()?.status == 400)
      }
    }
  }

  @Test("A client that is silent, or lets a byte drop now and then, is dropped after the idle time")
  func slowClients() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench, idleSeconds: 1) { server in
      let head = "PUT /secrets/one?api-version=7.4 HTTP/1.1\r\nHost:kv1.vault.test\r\n"
      let begun = head + "Content-Length:100000\r\nAuthorization:Bearer \(bench.owner)\r\n\r\n"
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for (text, drops) in [("", false), (head, false), (begun, false), (head, true), (begun, true)] {
          group.addTask {
            var isClosed = false
            do {
              try await server.connect { connection in
                if !text.isEmpty { try await connection.write(text) }
                let channel = connection.channel
                let drip = channel.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(100)) { _ in
                  if drops { channel.writeAndFlush(ByteBuffer(string: "x"), promise: nil) }
                }
                isClosed = await connection.isClosed()
                drip.cancel()
              }
            } catch is ChannelError {
              // Of a busy machine's client the first bytes may come too late already.
              isClosed = true
            }
            return isClosed
          }
        }
        for try await isClosed in group { #expect(isClosed) }
      }
      // On a busy machine even these may come after the idle time.
      var status: Int?
      for _ in 0..<10 where status == nil {
        try? await server.connect { connection in
          try await connection.ask("GET", "/keys?api-version=7.4", token: bench.owner)
          status = try await connection.reply()?.status
        }
      }
      #expect(status == 200, "others are served")
    }
  }

  @Test("One address has so many connections, and no more; one that ends makes room")
  func connectionsPerAddress() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench, hasIdentity: true, connectionsPerAddress: 2) { server in
      func status(_ connection: inout Connection) async throws -> Int? {
        try await connection.ask("GET", "/healthz", token: "", host: "127.0.0.1")
        return try await connection.reply()?.status
      }
      for isPlain in [false, true] {
        // The identity port has nothing at that address.
        let expected = isPlain ? 404 : 200
        try await server.connect(isPlain: isPlain) { first in
          let one = try await status(&first)
          #expect(one == expected)
          try await server.connect(isPlain: isPlain) { second in
            let two = try await status(&second)
            #expect(two == expected)
            var third: Int?
            try? await server.connect(isPlain: isPlain) { third = try await status(&$0) }
            #expect(third == nil, "the third is closed unanswered")
            let still = try await status(&second)
            #expect(still == expected, "those that were there stay")
          }
          // The server may see the end a little later.
          var again: Int?
          while again == nil { try? await server.connect(isPlain: isPlain) { again = try await status(&$0) } }
          #expect(again == expected)
        }
      }
    }
  }

  @Test("The identity port has the limits too: long heads, slow clients, and no bodies")
  func identityLimits() async throws {
    let bench = try await ServerBench()
    let head = "GET /msi/token?resource=x HTTP/1.1\r\nHost:127.0.0.1\r\n"
    try await ListeningServer.run(bench, idleSeconds: 1, hasIdentity: true) { server in
      for text in ["\(head)x-long:\(String(repeating: "x", count: 40 << 10))\r\n\r\n", head, ""] {
        try await server.connect(isPlain: true) { connection in
          if !text.isEmpty { try? await connection.write(text) }
          let reply = try? await connection.reply()
          #expect(reply == nil || reply?.status == 400 || reply?.status == 431)
          #expect(await connection.isClosed())
        }
      }
    }
    // The limits of time are a server's of their own: on a busy machine they would be over before a request is written.
    try await ListeningServer.run(bench, hasIdentity: true) { server in
      try await server.connect(isPlain: true) { connection in
        try await connection.write("\(head)Content-Length:1000000000\r\n\r\nxxx")
        let reply = try await connection.reply()
        #expect(reply?.status == 403 && reply?.headers["connection"] == "close")
        #expect(await connection.isClosed())
      }
    }
  }

  @Test("Shutting down: what is being worked on is answered, then the port is closed; ready says so meanwhile")
  func shutdown() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    bench.keyFaults.inject(.hung, call: 1)
    try await ListeningServer.run(bench) { server in
      try await server.connect { connection in
        let body = String(decoding: ServerBench.wrapBody.bytes, as: UTF8.self)
        try await connection.ask("POST", "/keys/aes/wrapkey?api-version=7.4", token: bench.owner, body: body)
        await bench.requests(1)
        await server.group.triggerGracefulShutdown()
        // The port is closed once this fails; what was begun goes on.
        while (try? await server.connect { _ in }) != nil { await Task.yield() }
        bench.keyFaults.heal()
        let reply = try await connection.reply()
        #expect(reply?.status == 200 && reply?.json?["value"] != nil, "\(reply.map { "\($0)" } ?? "no reply")")
        #expect(await connection.isClosed())
      }
      let ready = await bench.send(.get, "/readyz", as: "", version: nil)
      #expect(ready.status == 503 && ready["status"] == "not ready", "\(ready.text)")
    }
  }

  @Test("200 keep-alive clients at once are all served")
  func manyClients() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await ListeningServer.run(bench) { server in
      let served = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<200 {
          group.addTask {
            var served = 0
            try await server.connect { connection in
              for _ in 0..<5 {
                let body = String(decoding: ServerBench.wrapBody.bytes, as: UTF8.self)
                try await connection.ask("POST", "/keys/aes/wrapkey?api-version=7.4", token: bench.owner, body: body)
                if try await connection.reply()?.status == 200 { served += 1 }
              }
            }
            return served
          }
        }
        return try await group.reduce(0, +)
      }
      #expect(served == 1000)
      print("requests of 200 clients: \(served) served")
    }
  }

  @Test("The machine's own identity is served over HTTP on the loopback address, in both forms")
  func identity() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench, hasIdentity: true) { server in
      let query = "resource=https%3A%2F%2Fvault.test%3A8443"
      for (path, header, status) in [
        ("/msi/token", "X-IDENTITY-HEADER:\(ServerBench.identityHeader)", 200), ("/msi/token", "X-Odd:1", 403),
        ("/metadata/identity/oauth2/token", "Metadata:true", 200), ("/metadata/identity/oauth2/token", "X-Odd:1", 400),
      ] {
        try await server.connect(isPlain: true) { connection in
          try await connection.ask("GET", "\(path)?\(query)", token: "", headers: [header], host: "169.254.169.254")
          let reply = try await connection.reply()
          #expect(reply?.status == status, "\(path) \(header)")
          #expect((reply?.json?["access_token"] != nil) == (status == 200))
        }
      }
    }
  }

  @Test("V12: TLS may end in front of the server, on the same machine, and must in FIPS mode")
  func outside() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench, endsTLS: false) { server in
      try await server.connect { connection in
        try await connection.ask("GET", "/readyz", token: "")
        #expect(try await connection.reply()?.status == 200)
        try await connection.ask("GET", "/keys?api-version=7.5", token: "")
        let reply = try await connection.reply()
        #expect(reply?.status == 401)
        #expect(reply?.headers["www-authenticate"]?.contains("https://login.vault.test") == true)
      }
    }
    let refused = KeyCustodyError(.invalidInput, .badConfigurationValue, "")
    var binding = VaultApplication.Binding(tls: .outside)
    for address in ["127.0.0.1", "127.1.2.3", "::1"] {
      binding.address = address
      for isFIPS in [true, false] { try binding.check(isFIPS: isFIPS) }
    }
    for address in ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example", "localhost", ""] {
      binding.address = address
      #expect(throws: refused, "\(address)") { try binding.check(isFIPS: false) }
    }
    binding = VaultApplication.Binding(tls: .certificate(file: "server.pem", keyFile: "server-key.pem"))
    binding.address = "0.0.0.0"
    try binding.check(isFIPS: false)
    #expect(throws: refused) { try binding.check(isFIPS: true) }
  }

  @Test("TLS 1.2 with forward secrecy and authenticated encryption, or 1.3; nothing else (RELIABILITY 42)")
  func tls() async throws {
    let bench = try await ServerBench()
    try await ListeningServer.run(bench) { server in
      let shell = try Executable(at: "/bin/sh")
      func shake(_ options: String) throws -> (status: Int32, output: String) {
        try shell.run([
          "-c",
          "openssl s_client -connect 127.0.0.1:\(server.port) -servername kv1.vault.test -CAfile '\(server.caFile)' "
            + "-verify_return_error -brief \(options) </dev/null 2>&1",
        ])
      }
      let taken = [
        "-tls1_3", "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", "-tls1_3 -groups P-256",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
        "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
      ]
      for options in taken {
        let (status, output) = try shake(options)
        #expect(status == 0 && output.contains("CONNECTION ESTABLISHED"), "\(options): \(output)")
        #expect(output.contains("Verification: OK"), "\(output)")
      }
      let refused = [
        "-tls1 -cipher ALL:@SECLEVEL=0", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1_2 -cipher AES256-GCM-SHA384",
        "-tls1_2 -cipher AES128-SHA", "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384", "-tls1_2 -cipher DHE-RSA-AES256-GCM-SHA384",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-CCM", "-tls1_2 -cipher ALL:!ECDHE:@SECLEVEL=0",
        "-tls1_2 -cipher eNULL:@SECLEVEL=0", "-tls1_2 -cipher aNULL:@SECLEVEL=0",
      ]
      for options in refused {
        let (status, output) = try shake(options)
        #expect(status != 0 && output.contains("alert"), "\(options): \(output)")
      }
      print("handshakes: \(taken.count) taken, \(refused.count) refused")
    }
  }
}
