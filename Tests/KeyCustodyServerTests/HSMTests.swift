import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyServer

@Suite("HSM-protected keys beside software-protected ones", .serialized)
struct HSMTests {
  /// What stands in as the HSM.
  enum Device: String, CaseIterable, Sendable {
    case memory, softHSM

    func settings() async throws -> ConfigurationValue {
      switch self {
      case .memory: return ["plugin": "memory", "name": "hsm"]
      case .softHSM:
        var settings = try await SoftHSM.makeToken().settings
        settings["emulate"] = ["RSA-OAEP-256"]
        return .section(settings)
      }
    }
  }

  private static func holds(_ bench: ServerBench, _ provider: String, _ version: String) async throws -> Bool {
    let provider = try #require(bench.custody.keyProviders[provider])
    do throws(KeyCustodyError) {
      _ = try await provider.describe(try KeyVersionID(version), context: CallContext(purpose: .probe))
      return true
    } catch {
      #expect(error.code == .notFound, "\(error)")
      return false
    }
  }

  @Test("kty is as it was asked for, and the key lies where that says", arguments: Device.allCases)
  func protection(_ device: Device) async throws {
    let bench = try await ServerBench(hsm: try await device.settings())
    for (kty, body) in [("RSA", ["kty": "RSA"]), ("EC", ["kty": "EC"]), ("oct", ["kty": "oct"])] as [(String, JSON)] {
      for isHSM in [false, true] {
        let asked = kty + (isHSM ? "-HSM" : "")
        let name = "key-\(asked)"
        let made = await bench.send(.post, "/keys/\(name)/create", ["kty": .string(asked)])
        #expect(made["key", "kty"]?.string == asked, "\(body) \(made.text)")
        let version = String(try #require(made["key", "kid"]?.string).suffix(32))
        #expect(try await Self.holds(bench, "hsm", version) == isHSM)
        #expect(try await Self.holds(bench, "keys", version) == !isHSM)
        // A new version stays where the key is.
        let rotated = await bench.send(.post, "/keys/\(name)/rotate")
        #expect(rotated["key", "kty"]?.string == asked, "\(rotated.text)")
        let next = String(try #require(rotated["key", "kid"]?.string).suffix(32))
        #expect(try await Self.holds(bench, "hsm", next) == isHSM && next != version)
        #expect(await bench.send(.get, "/keys/\(name)/\(version)")["key", "kty"]?.string == asked)
        try await Self.use(bench, name, kty)
      }
    }
    let names = await bench.send(.get, "/keys").names
    #expect(names.count == 6)
  }

  /// What each type is for, there and back.
  private static func use(_ bench: ServerBench, _ name: String, _ kty: String) async throws {
    let bytes = JSON.string([UInt8](repeating: 9, count: 32).base64URL)
    if kty == "EC" {
      let signed = await bench.send(.post, "/keys/\(name)/sign", ["alg": "ES256", "value": bytes])
      let body: JSON = ["alg": "ES256", "digest": bytes, "value": signed["value"] ?? .null]
      #expect(await bench.send(.post, "/keys/\(name)/verify", body)["value"] == true, "\(signed.text)")
      return
    }
    for algorithm in kty == "RSA" ? ["RSA-OAEP", "RSA-OAEP-256"] : ["A256KW"] {
      let wrapped = await bench.send(.post, "/keys/\(name)/wrapkey", ["alg": .string(algorithm), "value": bytes])
      let body: JSON = ["alg": .string(algorithm), "value": wrapped["value"] ?? .null]
      let opened = await bench.send(.post, "/keys/\(name)/unwrapkey", body)
      #expect(opened["value"] == bytes, "\(name) \(algorithm): \(wrapped.text) \(opened.text)")
    }
  }

  @Test("In a vault without an HSM provider an HSM-protected key is 400, and none is made")
  func withoutHSM() async throws {
    let bench = try await ServerBench(hsm: ["plugin": "memory", "name": "hsm"])
    for kty in ["RSA-HSM", "EC-HSM", "oct-HSM"] {
      let answer = await bench.send(.post, "/keys/new/create", ["kty": .string(kty)], vault: "kv2")
      #expect(answer.status == 400 && answer.message.contains("kv2"), "\(answer.text)")
    }
    let jwk: JSON = ["kty": "oct", "k": .string([UInt8](repeating: 3, count: 32).base64URL)]
    let imported = await bench.send(.put, "/keys/new", ["key": jwk, "Hsm": true], vault: "kv2")
    #expect(imported.status == 400, "\(imported.text)")
    #expect(await bench.send(.get, "/keys/new", vault: "kv2").status == 404)
  }

  @Test("A key brought in with Hsm lies in the HSM, which answers for it", arguments: Device.allCases)
  func importing(_ device: Device) async throws {
    let bench = try await ServerBench(hsm: try await device.settings())
    let jwk: JSON = ["kty": "oct", "k": .string([UInt8](repeating: 3, count: 32).base64URL)]
    let body: JSON = ["key": jwk, "Hsm": true]
    let made = await bench.send(.put, "/keys/mine", body)
    #expect(made["key", "kty"] == "oct-HSM", "\(made.text)")
    #expect(!made.text.contains([UInt8](repeating: 3, count: 32).base64URL), "no private member comes back")
    let version = String(try #require(made["key", "kid"]?.string).suffix(32))
    #expect(try await Self.holds(bench, "hsm", version))
    try await Self.use(bench, "mine", "oct")
  }

  @Test("An HSM-protected key is backed up where its provider can, and comes back as one; else it is refused")
  func backup() async throws {
    for device in Device.allCases {
      let bench = try await ServerBench(hsm: try await device.settings())
      let version = try await bench.makeKey("deep", ["kty": "oct-HSM"])
      let wrapped = try await bench.wrap("deep")
      let blob = await bench.send(.post, "/keys/deep/backup")
      guard bench.custody.keyProviders["hsm"]?.backup != nil else {
        #expect(blob.status == 400 && !blob.message.isEmpty, "\(blob.text)")
        continue
      }
      #expect(blob.status == 200, "\(blob.text)")
      _ = await bench.send(.delete, "/keys/deep")
      #expect(await bench.send(.delete, "/deletedkeys/deep").status == 204)
      #expect(try await !Self.holds(bench, "hsm", version), "purged")
      let restored = await bench.send(.post, "/keys/restore", blob.json)
      #expect(restored["key", "kty"] == "oct-HSM" && restored["key", "kid"]?.string?.hasSuffix(version) ?? false)
      #expect(try await Self.holds(bench, "hsm", version))
      let opened = await bench.send(.post, "/keys/deep/unwrapkey", ["alg": "A256KW", "value": .string(wrapped)])
      #expect(opened["value"] == ServerBench.wrapBody["value"])
      let elsewhere = await bench.send(.post, "/keys/restore", blob.json, vault: "kv2")
      #expect((400..<500).contains(elsewhere.status), "\(elsewhere.text)")
    }
  }

  @Test("A key gets a version whether or not that, or those before, can be backed up", arguments: [true, false])
  func versionsOfBothKinds(hsmFirst: Bool) async throws {
    let bench = try await ServerBench(hsm: try await Device.softHSM.settings())
    let kinds = hsmFirst ? ["oct-HSM", "oct"] : ["oct", "oct-HSM"]
    for kty in kinds {
      let made = await bench.send(.post, "/keys/both/create", ["kty": .string(kty)])
      #expect(made["key", "kty"]?.string == kty, "\(made.text)")
      #expect(try await bench.wrap("both").isEmpty == false)
    }
    let material = JSON.string([UInt8](repeating: 3, count: 32).base64URL)
    for isHSM in [true, false] {
      let body: JSON = ["key": ["kty": "oct", "k": material], "Hsm": .bool(isHSM)]
      #expect(await bench.send(.put, "/keys/both", body).status == 200, "Hsm: \(isHSM)")
    }
    #expect(await bench.send(.get, "/keys/both/versions").names.count == 4)
    #expect(await bench.send(.post, "/keys/both/rotate").status == 200)
    let backup = await bench.send(.post, "/keys/both/backup")
    #expect(backup.outcome == "400 NotSupported" && !backup.message.isEmpty, "\(backup.text)")
  }

  @Test("A key that was made without backups gets versions by a client that says nothing of them")
  func madeByOwnRoute() async throws {
    let bench = try await ServerBench()
    let own = await bench.send(.post, "/keycustody/v1/keys/app/create", ["type": "aes-256"])
    #expect(own.status == 200, "\(own.text)")
    try await bench.makeKey("app")
    let jwk: JSON = ["kty": "oct", "k": .string([UInt8](repeating: 3, count: 32).base64URL)]
    #expect(await bench.send(.put, "/keys/app", ["key": jwk]).status == 200)
    #expect(await bench.send(.get, "/keys/app/versions").names.count == 3)
    #expect(await bench.send(.post, "/keys/app/backup").outcome == "400 NotSupported")
  }

  @Test("Secrets of a vault with an HSM: set, versions, attributes, delete, recover, back up, restore, purge")
  func secrets() async throws {
    let bench = try await ServerBench(hsm: try await Device.softHSM.settings())
    let first = try await bench.makeSecret("one", "first")
    let second = try await bench.makeSecret("one", "second")
    #expect(await bench.send(.get, "/secrets/one")["value"] == "second")
    #expect(await bench.send(.get, "/secrets/one/\(first)")["value"] == "first")
    let versions = await bench.send(.get, "/secrets/one/versions")
    #expect(Set(versions.names) == [first, second] && !versions.text.contains("second"), "\(versions.text)")
    let patched = await bench.send(
      .patch, "/secrets/one/\(first)",
      ["contentType": "text/plain", "tags": ["a": "b"], "attributes": ["enabled": false]])
    #expect(patched["contentType"] == "text/plain" && patched["value"] == nil)
    #expect(await bench.send(.get, "/secrets/one/\(first)").code == "Forbidden/SecretDisabled")
    let blob = await bench.send(.post, "/secrets/one/backup")
    let deleted = await bench.send(.delete, "/secrets/one")
    #expect(deleted["value"] == nil && deleted["scheduledPurgeDate"] != nil)
    #expect(await bench.send(.post, "/deletedsecrets/one/recover")["value"] == nil)
    #expect(await bench.send(.get, "/secrets/one")["value"] == "second")
    _ = await bench.send(.delete, "/secrets/one")
    #expect(await bench.send(.delete, "/deletedsecrets/one").status == 204)
    #expect(await bench.send(.post, "/secrets/restore", blob.json).status == 200)
    #expect(await bench.send(.get, "/secrets/one/\(second)")["value"] == "second")
  }
}
