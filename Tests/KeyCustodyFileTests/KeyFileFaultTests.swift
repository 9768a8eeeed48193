import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import Testing

/// Every call to the file system fails once, and nothing is ever torn.
struct KeyFileFaultTests {
  @Test("A key store is as before or as asked, whichever call fails", arguments: FaultingFileSystem.Fault.allCases)
  func changes(fault: FaultingFileSystem.Fault) async throws {
    var runs = 0
    var errors = 0
    for number in 1...1000 {
      let trial = try await KeyTrial()
      let system = FaultingFileSystem(fault, at: number)
      await trial.work(through: system)
      runs += 1
      if trial.errors.isEmpty { #expect(trial.isDone, "call \(number): an error was swallowed") }
      errors += trial.errors.isEmpty ? 0 : 1
      try await trial.check("\(fault) at call \(number)")
      if system.calls.count < number {
        #expect(trial.isDone)
        break
      }
    }
    print("key store, \(fault): \(runs) runs, \(errors) with an error")
    #expect(runs > 20 && runs < 1000)
    #expect(errors >= (fault == .shortWrite ? 1 : 30))
  }

  @Test("A store in the making is made, or can be made anew", arguments: FaultingFileSystem.Fault.allCases)
  func making(fault: FaultingFileSystem.Fault) async throws {
    var runs = 0
    for number in 1...1000 {
      let store = try FileStore()
      let system = FaultingFileSystem(fault, at: number)
      var identity: ProviderIdentity?
      do throws(KeyCustodyError) {
        let provider = try await store.openKeys(through: system)
        identity = provider.identity
        await provider.close()
      } catch {}
      runs += 1
      let again = try await store.openKeys()
      if let identity { #expect(again.identity == identity) }
      _ = try await again.generate(try store.request(), context: store.context)
      await again.close()
      if system.calls.count < number { break }
    }
    print("making a key store, \(fault): \(runs) runs")
    #expect(runs > 10 && runs < 1000)
  }

  @Test("A key is on the disk before it has its name, and its name before it is answered")
  func order() async throws {
    let store = try FileStore()
    let system = FaultingFileSystem()
    let provider = try await store.openKeys(through: system)
    let request = try store.request()
    let before = system.calls.count
    _ = try await provider.generate(request, context: store.context)
    // From the temporary file on; before it the store looks whether the name is free.
    let generate = system.calls[before...].drop { !$0.hasPrefix("open .") }.filter { !$0.hasPrefix("remove") }
    #expect(
      generate.map { String($0.prefix { $0 != " " }) } == [
        "open", "write", "synchronize", "link", "open", "synchronize",
      ])
    #expect(generate.contains("link \(request.version).key"))
    let middle = system.calls.count
    try await provider.destroy(request.version, context: store.context)
    #expect(
      system.calls[middle...].map { String($0.prefix { $0 != " " }) } == ["remove", "open", "synchronize"])
    await provider.close()
  }
}

/// A store with two keys, of which one is destroyed while a third is made.
private final class KeyTrial {
  let store: FileStore
  private let old: KeyDescription
  private let doomed: KeyDescription
  private let wrapped: [UInt8]
  private let new: GenerateKeyRequest
  private var made: KeyDescription?
  private var isDestroyed = false
  private var wasTried = false
  private(set) var errors: [KeyCustodyError] = []

  init() async throws {
    store = try FileStore()
    let provider = try await store.openKeys()
    old = try await provider.generate(try store.request(), context: store.context)
    doomed = try await provider.generate(try store.request(), context: store.context)
    wrapped = try await Self.wrap(provider, old)
    new = try store.request()
    await provider.close()
  }

  var isDone: Bool { made != nil && isDestroyed }

  func work(through system: FaultingFileSystem) async {
    do throws(KeyCustodyError) {
      let provider = try await store.openKeys(through: system)
      do throws(KeyCustodyError) {
        made = try await provider.generate(new, context: store.context)
      } catch { errors.append(error) }
      wasTried = true
      do throws(KeyCustodyError) {
        try await provider.destroy(doomed.version, context: store.context)
        isDestroyed = true
      } catch { errors.append(error) }
      await provider.close()
    } catch { errors.append(error) }
  }

  /// Opens the store on the real file system: everything is whole, and what was answered is so.
  func check(_ when: String) async throws {
    let provider = try await store.openKeys()
    let unwrapped = try await provider.unwrap(wrapped, with: Self.request(old))
    #expect(unwrapped.count == 32)
    var expected = [old.version]
    switch try await find(provider, new.version) {
    case let found?:
      if let made { #expect(found == made, "\(when)") }
      _ = try await Self.wrap(provider, found)
      expected.append(found.version)
    case nil: #expect(made == nil, "\(when): a key that was answered is gone")
    }
    switch try await find(provider, doomed.version) {
    case let found?:
      #expect(!isDestroyed, "\(when): a destroyed key is back")
      _ = try await Self.wrap(provider, found)
      expected.append(found.version)
    case nil: #expect(wasTried, "\(when): a key is gone that nobody destroyed")
    }
    #expect(try await provider.inventory?.versions(after: nil, limit: 10) == expected.sorted(), "\(when)")
    let names = try POSIXFileSystem().names(in: store.keys + "/keys")
    #expect(names.sorted() == expected.sorted().map { "\($0).key" }, "\(when): something was left")
    await provider.close()
  }

  private func find(_ provider: any KeyProvider, _ version: KeyVersionID) async throws -> KeyDescription? {
    do throws(KeyCustodyError) { return try await provider.describe(version, context: store.context) } catch {
      if error.code == .notFound { return nil }
      throw error
    }
  }

  private static func request(_ key: KeyDescription) -> WrapRequest {
    WrapRequest(version: key.version, algorithm: .aes256KW, context: CallContext(purpose: .probe))
  }

  private static func wrap(_ provider: any KeyProvider, _ key: KeyDescription) async throws -> [UInt8] {
    try await provider.wrap(try SystemRandom().secret(32), with: request(key)).bytes
  }
}
