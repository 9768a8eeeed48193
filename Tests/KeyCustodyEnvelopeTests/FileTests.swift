import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import Synchronization
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct FileTests {
  private let folder: TemporaryFolder
  private let keys: LayeredKeys
  private let source: TestKeys
  private let context: SealingContext
  private let random = SystemRandom()
  init() throws {
    folder = try TemporaryFolder()
    keys = try makeLayeredKeys()
    source = TestKeys(keys)
    context = try makeContext()
  }

  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() }
  private func mode(_ name: String) throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: folder.appending(name))[.posixPermissions] as? Int
  }
  private func seal(_ from: String = "plain", _ to: String = "sealed") async throws {
    try await TwoLayers.sealFile(
      from: folder.appending(from), to: folder.appending(to), keys: keys, renewingFrom: source, context: context,
      random: random)
  }
  private func unseal(_ from: String = "sealed", _ to: String = "opened") async throws {
    try await TwoLayers.openFile(
      from: folder.appending(from), to: folder.appending(to), keys: source, context: context)
  }

  @Test("A file opens to what was sealed, and nothing else is left", arguments: [0, 1, 16_384, 3_000_001])
  func roundTrip(count: Int) async throws {
    let content = pattern(count)
    try folder.write(content, to: "plain")
    let seen = Mutex<[Int64]>([])
    try await TwoLayers.sealFile(
      from: folder.appending("plain"), to: folder.appending("sealed"), keys: keys, context: context, random: random
    ) { done in seen.withLock { $0.append(done) } }
    try await unseal()
    #expect(try folder.read("opened") == content)
    #expect(try names() == ["opened", "plain", "sealed"])
    #expect(try mode("opened") == 0o600)
    let progress = seen.withLock { $0 }
    #expect(progress.count == (count + (1 << 20) - 1) >> 20 && progress.last ?? 0 == Int64(count))
    #expect(progress == progress.sorted())
    // The same bytes open as a stream and by random access.
    let sealed = try folder.read("sealed")
    let stream = TwoLayers.openStream(Pieces(sealed, size: 100_000), keys: source, context: context)
    #expect(try await stream.collected() == content)
    let file = try await FileBytes(path: folder.appending("sealed"))
    let reader = try await TwoLayers.reader(over: file, keys: source, context: context)
    let tail = try await reader.read(at: max(0, reader.size - 100), count: 100)
    #expect(tail == Array(content.suffix(100)))
  }

  @Test("The outer layer of a file is renewed in place, with its permissions")
  func renew() async throws {
    let content = pattern(2_500_000)
    try folder.write(content, to: "plain")
    try await seal()
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: folder.appending("sealed"))
    let newKey = try makeRootKey()
    try await TwoLayers.renewOuterLayer(
      ofFile: folder.appending("sealed"), from: OuterOnly(source), to: newKey, context: context, random: random)
    #expect(try SealedHeader(parsing: try folder.read("sealed")).rootKey == newKey.id)
    #expect(try mode("sealed") == 0o640)
    source.add(newKey, .customer)
    try await unseal()
    #expect(try folder.read("opened") == content)
    #expect(try names() == ["opened", "plain", "sealed"])
  }

  @Test("A damaged or cut file leaves the target as it was, and nothing beside it", arguments: [0, 100, 2_000_000, -1])
  func damaged(length: Int) async throws {
    try folder.write(pattern(2_500_000), to: "plain")
    try await seal()
    var sealed = try folder.read("sealed")
    if length < 0 { sealed[sealed.count - 1] ^= 1 } else { sealed = Array(sealed.prefix(length)) }
    try folder.write(sealed, to: "sealed")
    try folder.write([1, 2, 3], to: "opened")
    let error = await #expect(throws: KeyCustodyError.self) { try await unseal() }
    #expect(error?.code == .integrityFailure)
    #expect(try folder.read("opened") == [1, 2, 3])
    let error2 = await #expect(throws: KeyCustodyError.self) {
      try await TwoLayers.renewOuterLayer(
        ofFile: folder.appending("sealed"), from: source, to: keys.customer, context: context, random: random)
    }
    #expect(error2?.code == .integrityFailure)
    #expect(try folder.read("sealed") == sealed)
    #expect(try names() == ["opened", "plain", "sealed"])
  }

  @Test("A target that can't be made, and a source that is missing, are named as the caller wrote them")
  func namesInMessages() async throws {
    try folder.write(pattern(10), to: "plain")
    let cases = [
      ("plain", "none/target", "there is no folder '\(folder.appending("none"))'", "mkdir -p"),
      ("plain", "plain/target", "'\(folder.appending("plain"))' is not a folder", "in a folder"),
      ("none", "target", "There is no file '\(folder.appending("none"))'", "file system"),
    ]
    for (from, to, message, remedy) in cases {
      let error = await #expect(throws: KeyCustodyError(.notFound, .unreachable, "")) { try await seal(from, to) }
      #expect(error?.message.contains(message) == true && error?.message.contains(".part") == false)
      #expect(error?.remedy.contains(remedy) == true)
    }
    try await seal()
    try folder.write(Array(try folder.read("sealed").dropLast()), to: "cut")
    let cut = await #expect(throws: KeyCustodyError.self) { try await unseal("cut") }
    #expect(cut?.message.contains("'\(folder.appending("cut"))'") == true && cut?.remedy.contains("backup") == true)
  }

  enum Interference: String, CaseIterable { case grown, shrunk, altered, removed, replaced }

  @Test("A file that changes while it is sealed is refused", arguments: Interference.allCases)
  func changed(how: Interference) async throws {
    try folder.write(pattern(3 << 20), to: "plain")
    try folder.write([9], to: "sealed")
    let plain = folder.appending("plain")
    let folder = folder
    let error = await #expect(throws: KeyCustodyError.self) {
      try await TwoLayers.sealFile(
        from: plain, to: folder.appending("sealed"), keys: keys, context: context, random: random
      ) { done in
        guard done == 1 << 20 else { return }
        switch how {
        case .grown: unsafe truncate(plain, 4 << 20)
        case .shrunk: unsafe truncate(plain, 1 << 20)
        case .altered:
          let descriptor = unsafe open(plain, O_WRONLY)
          unsafe pwrite(descriptor, [1, 2, 3], 3, 0)
          close(descriptor)
        case .removed: try? FileManager.default.removeItem(atPath: plain)
        case .replaced:
          _ = try? folder.write(pattern(3 << 20), to: "other")
          try? FileManager.default.removeItem(atPath: plain)
          try? FileManager.default.moveItem(atPath: folder.appending("other"), toPath: plain)
        }
      }
    }
    #expect(error == KeyCustodyError(.unavailable, .sourceChanged, ""))
    #expect(try folder.read("sealed") == [9])
    #expect(try names().filter { $0.hasSuffix(".part") } == [])
  }

  @Test("E8: a revocation stops the sealing of a file, and the target is as it was")
  func revoked() async throws {
    try folder.write(pattern(4 << 20), to: "plain")
    let denied = KeyCustodyError(.denied, .init("policy"), "Revoked.")
    let (source, keys) = (source, keys)
    await #expect(throws: denied) {
      try await TwoLayers.sealFile(
        from: folder.appending("plain"), to: folder.appending("sealed"), keys: keys, renewingFrom: source,
        context: context, random: random
      ) { done in
        guard done == 1 << 20 else { return }
        source.refuse(denied)
        keys.customer.destroy()
      }
    }
    #expect(try names() == ["plain"])
  }

  @Test("E8: a lease that is suspended while a file is sealed is asked for again before anything more is sealed")
  func suspended() async throws {
    let content = pattern(4 << 20)
    try folder.write(content, to: "plain")
    let denied = KeyCustodyError(.denied, .init("policy"), "Suspended.")
    let (source, keys) = (source, keys)
    for key in [keys.service, keys.customer] {
      source.refuse(nil)
      await #expect(throws: denied) {
        try await TwoLayers.sealFile(
          from: folder.appending("plain"), to: folder.appending("sealed"), keys: keys, renewingFrom: source,
          context: context, random: random
        ) { done in
          guard done == 1 << 20 else { return }
          source.refuse(denied)
          key.suspendLease()
        }
      }
      #expect(try names() == ["plain"])
      key.extendLease(until: .seconds(60), renewal: .seconds(30)) {}
    }
    source.refuse(nil)
    source.onQuestion { _ in keys.customer.extendLease(until: .seconds(60), renewal: .seconds(30)) {} }
    let before = source.questions
    try await TwoLayers.sealFile(
      from: folder.appending("plain"), to: folder.appending("sealed"), keys: keys, renewingFrom: source,
      context: context, random: random
    ) { _ in keys.customer.suspendLease() }
    #expect(source.questions > before)
    try await unseal()
    #expect(try folder.read("opened") == content)
  }

  @Test("What is opened is for this user alone, whatever stood there; what is sealed keeps the permissions found there")
  func permissions() async throws {
    let content = pattern(100)
    try folder.write(content, to: "plain")
    for (name, mode) in [("sealed", 0o644), ("opened", 0o666)] {
      try folder.write([1], to: name)
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder.appending(name))
    }
    try await seal()
    #expect(try mode("sealed") == 0o644)
    try await unseal()
    #expect(try mode("opened") == 0o600)
    #expect(try folder.read("opened") == content)
  }

  @Test("Cancelling stops the work, and the target is as it was")
  func cancelled() async throws {
    try folder.write(pattern(4 << 20), to: "plain")
    let (path, target, keys, context) = (folder.appending("plain"), folder.appending("sealed"), keys, context)
    let task = Task {
      try await TwoLayers.sealFile(
        from: path, to: target, keys: keys, context: context, random: SystemRandom()
      ) { _ in unsafe withUnsafeCurrentTask { unsafe $0?.cancel() } }
    }
    await #expect(throws: KeyCustodyError(.unavailable, .cancelled, "")) { try await task.value }
    #expect(try names() == ["plain"])
  }

  @Test("Files that are absent, folders and links are refused with what is wrong")
  func wrongFiles() async throws {
    let absent = await #expect(throws: KeyCustodyError.self) { try await seal() }
    #expect(absent?.code == .notFound)
    try FileManager.default.createDirectory(atPath: folder.appending("folder"), withIntermediateDirectories: false)
    let asFolder = await #expect(throws: KeyCustodyError.self) { try await seal("folder") }
    #expect(asFolder?.code == .invalidInput)
    try folder.write([1], to: "plain")
    let toFolder = await #expect(throws: KeyCustodyError.self) { try await seal("plain", "folder") }
    #expect(toFolder?.code == .invalidInput)
    let nowhere = await #expect(throws: KeyCustodyError.self) { try await seal("plain", "none/sealed") }
    #expect(nowhere?.code == .notFound)
    try FileManager.default.createSymbolicLink(
      atPath: folder.appending("link"), withDestinationPath: folder.appending("plain"))
    let toLink = await #expect(throws: KeyCustodyError.self) { try await seal("plain", "link") }
    #expect(toLink?.code == .invalidInput)
    let noBytes = await #expect(throws: KeyCustodyError.self) { try await FileBytes(path: folder.appending("none")) }
    #expect(noBytes?.code == .notFound)
    #expect(try names() == ["folder", "link", "plain"])
    #expect(try folder.read("plain") == [1])
  }
}
