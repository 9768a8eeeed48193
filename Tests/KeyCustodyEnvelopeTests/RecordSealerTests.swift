import KeyCustody
import Synchronization
import Testing

@testable import KeyCustodyEnvelope

/// Plain calls, into arrays and into buffers of the caller's.
@Suite struct RecordSealerTests {
  private let keys: LayeredKeys
  private let resource: ResourceID
  private let dataClass: DataClass
  private let sealer: RecordSealer
  private let opener: RecordOpener

  init() throws {
    keys = try makeLayeredKeys()
    resource = try ResourceID("Bot-1")
    dataClass = try DataClass("LongTerm")
    sealer = RecordSealer(keys: keys, resource: resource, dataClass: dataClass, random: SystemRandom())
    opener = RecordOpener(
      keys: [(.customer, keys.customer), (.service, keys.service)], resource: resource, dataClass: dataClass)
  }

  private func context(_ object: String, _ identifiers: [String: String] = [:]) throws -> SealingContext {
    try SealingContext(resource: resource, dataClass: dataClass, object: object, identifiers: identifiers)
  }

  @Test(
    "What plain calls seal is what the layers seal: each opens the other's", arguments: [0, 1, 100, 5_000, 1 << 20])
  func sameFormat(count: Int) async throws {
    let content = pattern(count)
    for identifiers in [[:], ["user": "u-2", "tenant": "t-1"]] {
      for object in ["o", "Gespräch/7 — " + String(repeating: "x", count: 490)] {
        let context = try context(object, identifiers)
        let ours = try sealer.seal(content, as: object, identifiers: identifiers)
        #expect(ours.count == count + sealer.overhead)
        #expect(try await TwoLayers.openRecord(ours, keys: TestKeys(keys), context: context) == content)
        let theirs = try TwoLayers.sealRecord(content, keys: keys, context: context, random: SystemRandom())
        #expect(try opener.open(theirs, as: object, identifiers: identifiers) == content)
      }
    }
  }

  @Test("Identifiers of any length are bound as the layers bind them", arguments: [0, 300, 380, 1024])
  func longIdentifiers(length: Int) async throws {
    let identifiers = Dictionary(
      uniqueKeysWithValues: (0..<32).map { ("name-\($0)", String(repeating: "v", count: $0 < 2 ? length : length / 8)) }
    )
    for count in [1, 32] {
      let some = identifiers.filter { $0.key == "name-0" || count > 1 }
      let context = try context("o", some)
      let ours = try sealer.seal([1, 2, 3], as: "o", identifiers: some)
      #expect(try await TwoLayers.openRecord(ours, keys: TestKeys(keys), context: context) == [1, 2, 3])
      let theirs = try TwoLayers.sealRecord([4, 5], keys: keys, context: context, random: SystemRandom())
      #expect(try opener.open(theirs, as: "o", identifiers: some) == [4, 5])
      var other = some
      other["name-0"] = "another"
      #expect(refuses { _ = try opener.open(ours, as: "o", identifiers: other) })
    }
  }

  @Test("What does not open leaves the opener as good as before: each record is opened under its own nonce")
  func afterRefusal() throws {
    let records = try (0..<20).map { try sealer.seal([UInt8($0)], as: "o") }
    for (index, record) in records.enumerated().reversed() {
      var altered = record
      altered[20] ^= 1
      #expect(refuses { _ = try opener.open(altered, as: "o") })
      altered = record
      altered[record.count - 1] ^= 1
      #expect(refuses { _ = try opener.open(altered, as: "o") })
      #expect(try opener.open(record, as: "o") == [UInt8(index)])
    }
  }

  @Test("One layer alone seals and opens")
  func oneLayer() throws {
    let sealer = RecordSealer(
      key: keys.service, layer: .service, resource: resource, dataClass: dataClass, random: SystemRandom())
    let opener = RecordOpener(key: keys.service, layer: .service, resource: resource, dataClass: dataClass)
    let sealed = try sealer.seal([1, 2, 3], as: "o")
    #expect(sealed.count == 3 + RecordLayer.overhead && sealer.overhead == RecordLayer.overhead)
    #expect(try opener.open(sealed, as: "o") == [1, 2, 3])
    #expect(try RecordLayer.open(sealed, key: keys.service, layer: .service, context: context("o")) == [1, 2, 3])
    #expect(refuses { _ = try self.opener.open(sealed, as: "o") })
  }

  @Test("A caller's buffer takes exactly the record, and is refused at any other length")
  func buffer() throws {
    let content = pattern(1000)
    var sealed = [UInt8](repeating: 0, count: 1000 + sealer.overhead)
    do {
      var span = sealed.mutableSpan
      var bytes = unsafe span.mutableBytes
      try sealer.seal(unsafe content.span.bytes, as: "o", into: &bytes)
    }
    #expect(try opener.contentLength(sealed: sealed.count) == 1000)
    var opened = [UInt8](repeating: 0, count: 1000)
    do {
      var span = opened.mutableSpan
      var bytes = unsafe span.mutableBytes
      try opener.open(unsafe sealed.span.bytes, as: "o", into: &bytes)
    }
    #expect(opened == content)
    for count in [0, 1000, 1000 + sealer.overhead - 1, 1000 + sealer.overhead + 1] {
      var wrong = [UInt8](repeating: 7, count: count)
      let error = caught {
        var span = wrong.mutableSpan
        var bytes = unsafe span.mutableBytes
        try sealer.seal(unsafe content.span.bytes, as: "o", into: &bytes)
      }
      #expect(error == KeyCustodyError(.invalidInput, .wrongSize, ""))
      #expect(wrong.allSatisfy { $0 == 7 })
    }
    var wrong = [UInt8](repeating: 7, count: 999)
    let error = caught {
      var span = wrong.mutableSpan
      var bytes = unsafe span.mutableBytes
      try opener.open(unsafe sealed.span.bytes, as: "o", into: &bytes)
    }
    #expect(error == KeyCustodyError(.invalidInput, .wrongSize, ""))
  }

  @Test("E14: every flipped bit, cut and other name is refused, and leaves nothing in the buffer")
  func altered() throws {
    let content = pattern(40)
    let sealed = try sealer.seal(content, as: "o", identifiers: ["a": "1"])
    var count = 0
    for bit in 0..<(sealed.count * 8) {
      var altered = sealed
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      var buffer = [UInt8](repeating: 7, count: content.count)
      let error = caught {
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        try opener.open(unsafe altered.span.bytes, as: "o", identifiers: ["a": "1"], into: &bytes)
      }
      #expect(error != nil, "bit \(bit)")
      #expect(buffer.allSatisfy { $0 == 7 } || buffer.allSatisfy { $0 == 0 }, "bit \(bit)")
      count += 1
    }
    for length in 0..<sealed.count {
      #expect(refuses { _ = try opener.open(Array(sealed.prefix(length)), as: "o", identifiers: ["a": "1"]) })
      count += 1
    }
    for (object, identifiers) in [("p", ["a": "1"]), ("o", [:]), ("o", ["a": "2"]), ("o", ["b": "1"])] {
      #expect(refuses { _ = try opener.open(sealed, as: object, identifiers: identifiers) })
    }
    print("plain calls: \(count) altered records refused")
  }

  @Test("Names and contents outside their limits are refused, as the context refuses them")
  func limits() throws {
    let wrong = KeyCustodyError(.invalidInput, .wrongSize, "")
    let long = String(repeating: "x", count: 513)
    #expect(throws: wrong) { try sealer.seal([1], as: "") }
    #expect(throws: wrong) { try sealer.seal([1], as: long) }
    #expect(throws: wrong) { try sealer.seal([1], as: "o", identifiers: ["": "v"]) }
    #expect(throws: wrong) { try sealer.seal([UInt8](repeating: 0, count: 1 << 20 + 1), as: "o") }
    let many = Dictionary(uniqueKeysWithValues: (0..<33).map { ("\($0)", "") })
    #expect(throws: wrong) { try sealer.seal([1], as: "o", identifiers: many) }
    let sealed = try sealer.seal([1], as: "o")
    #expect(throws: wrong) { try opener.open(sealed, as: long) }
  }

  @Test("A destroyed root key ends sealing and opening at once")
  func destroyed() throws {
    let sealed = try sealer.seal([1], as: "o")
    keys.service.destroy()
    let ended = KeyCustodyError(.unavailable, .leaseEnded, "")
    #expect(throws: ended) { try sealer.seal([1], as: "o") }
    #expect(throws: ended) { try opener.open(sealed, as: "o") }
  }

  @Test("A record under a root key that is not at hand names it")
  func unknownKey() throws {
    let other = try makeLayeredKeys()
    let foreign = RecordSealer(keys: other, resource: resource, dataClass: dataClass, random: SystemRandom())
    let error = caught { _ = try opener.open(try foreign.seal([1], as: "o"), as: "o") }
    #expect(error == KeyCustodyError(.integrityFailure, .unknownRootKey, ""))
    #expect(error?.message.contains(other.customer.id.description) == true)
  }

  @Test("No two records share a nonce, however many tasks seal at once")
  func nonces() async throws {
    let sealer = sealer
    let heads = try await withThrowingTaskGroup(of: [[UInt8]].self) { group in
      for _ in 0..<8 {
        group.addTask { try (0..<2_000).map { _ in Array(try sealer.seal([1], as: "o")[12..<36]) } }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(heads.count == 16_000 && Set(heads).count == 16_000)
  }

  @Test("A lease that has ended, or is suspended, refuses; uses past half have it renewed, one in a second")
  func lease() throws {
    let renewals = Counter()
    #expect(throws: KeyCustodyError.self) { try sealer.requireLeases(at: .zero) }
    for key in [keys.service, keys.customer] {
      key.extendLease(until: .seconds(60), renewal: .seconds(30)) { renewals.add() }
    }
    try sealer.requireLeases(at: .seconds(30))
    #expect(renewals.value == 0)
    for step in 1...90 { try sealer.requireLeases(at: .milliseconds(30_000 + 10 * step)) }
    #expect(renewals.value == 2, "once for each key")
    for step in 1...90 { try sealer.requireLeases(at: .milliseconds(40_000 + 10 * step)) }
    #expect(renewals.value == 4, "and again while nobody extended them")
    let ended = KeyCustodyError(.unavailable, .leaseEnded, "")
    #expect(throws: ended) { try sealer.requireLeases(at: .seconds(60)) }
    keys.customer.extendLease(until: .seconds(120), renewal: .seconds(90)) { renewals.add() }
    #expect(throws: ended) { try sealer.requireLeases(at: .seconds(60)) }
    keys.service.extendLease(until: .seconds(120), renewal: .seconds(90)) { renewals.add() }
    try sealer.requireLeases(at: .seconds(60))
    keys.service.suspendLease()
    #expect(throws: ended) { try sealer.requireLeases(at: .seconds(60)) }
  }

  private func caught(_ body: () throws -> Void) -> KeyCustodyError? {
    do { try body() } catch { return error as? KeyCustodyError }
    return nil
  }
}
