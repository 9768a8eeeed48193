import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

/// Everything that can be done to sealed bytes: nothing opens.
///
/// Each test prints how much it tried.
@Suite struct TamperTests {
  private let keys: LayeredKeys
  private let source: TestKeys
  private let context: SealingContext
  init() throws {
    keys = try makeLayeredKeys()
    source = TestKeys(keys)
    context = try makeContext()
  }

  private func seal(_ content: [UInt8], _ context: SealingContext) throws -> [UInt8] {
    try TwoLayers.sealRecord(content, keys: keys, context: context, random: SystemRandom())
  }

  /// Why a record of two layers does not open; `nil` when it does.
  private func refusal(_ sealed: [UInt8], _ context: SealingContext) async -> KeyCustodyError? {
    do throws(KeyCustodyError) {
      _ = try await TwoLayers.openRecord(sealed, keys: source, context: context)
    } catch { return error }
    return nil
  }

  private func isExpected(_ error: KeyCustodyError?) -> Bool {
    guard let error else { return false }
    return [.integrityFailure, .invalidInput, .unsupported].contains(error.code) && !error.message.isEmpty
  }

  @Test("Every bit of a sealed record of 300 bytes flipped, every truncation, anything after it: nothing opens")
  func record() async throws {
    let sealed = try seal(pattern(300 - 2 * RecordLayer.overhead), context)
    #expect(sealed.count == 300)
    let untouched = await refusal(sealed, context)
    #expect(untouched == nil)
    for bit in 0..<(8 * sealed.count) {
      var altered = sealed
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      let error = await refusal(altered, context)
      #expect(isExpected(error), "bit \(bit)")
    }
    for count in 0..<sealed.count {
      let error = await refusal(Array(sealed.prefix(count)), context)
      #expect(isExpected(error), "\(count) bytes")
      #expect(count >= RecordLayer.overhead || error?.reason == .truncated, "\(count) bytes")
    }
    for count in 1...64 {
      let error = await refusal(sealed + [UInt8](repeating: 0, count: count), context)
      #expect(isExpected(error), "\(count) bytes more")
    }
    print("sealed record: \(8 * sealed.count) flips, \(sealed.count) truncations, 64 extensions: 0 opened")
  }

  @Test("Every field of a header set to every value, of a record and of an object: nothing opens")
  func headers() async throws {
    let record = try seal(pattern(20), context)
    let object = try sealLayer(pattern(20), key: keys.customer, layer: .customer, context: context)
    var tried = 0
    for position in 0..<SealedHeader.length {
      for value in UInt8.min...UInt8.max where value != record[position] {
        var altered = record
        altered[position] = value
        let error = await refusal(altered, context)
        #expect(isExpected(error), "record, byte \(position) = \(value)")
        if position == 3 {
          #expect(error == KeyCustodyError(.unsupported, .unknownFormat, ""))
          #expect(error?.message.contains("format \(value)") == true, "the version needed is named")
        }
        tried += 1
      }
      for value in UInt8.min...UInt8.max where value != object[position] {
        var altered = object
        altered[position] = value
        #expect(
          refuses { _ = try openLayer(altered, key: keys.customer, layer: .customer, context: context) },
          "object, byte \(position) = \(value)")
        tried += 1
      }
    }
    print("headers: \(tried) values: 0 opened")
  }

  @Test("Every bit of an object's prelude and of a whole chunk flipped: nothing opens", arguments: 0..<8)
  func object(bit: Int) throws {
    let key = keys.service
    let sealed = try sealLayer(pattern(Cobblestone.chunkLength), key: key, context: context)
    let end = Cobblestone.preludeLength + Cobblestone.sealedChunkLength
    var altered = sealed
    var opened = 0
    for position in 0..<sealed.count {
      altered[position] ^= 1 << UInt8(bit)
      var opener = ObjectLayerOpener(key: key, layer: .service, context: context)
      var content: [UInt8] = []
      do throws(KeyCustodyError) {
        try opener.update(unsafe altered.span.bytes, into: &content)
        try opener.finish(into: &content)
        opened += 1
      } catch {
        // Of a chunk that was altered nothing comes out; the empty last chunk leaves the one before it whole.
        #expect(content.isEmpty || position >= end, "byte \(position)")
        #expect([.integrityFailure, .invalidInput, .unsupported].contains(error.code), "byte \(position)")
      }
      altered[position] ^= 1 << UInt8(bit)
    }
    #expect(opened == 0)
    print("sealed object, bit \(bit): \(sealed.count) flips: \(opened) opened")
  }

  @Test("300 sealed records in each other's place, 89,700 swaps: nothing opens")
  func swaps() async throws {
    var contexts: [SealingContext] = []
    for index in 0..<300 {
      contexts.append(
        try makeContext(
          resource: "bot-\(index % 10)", dataClass: index % 2 == 0 ? "longterm" : "transient",
          object: "conversations/\(index / 20)", identifiers: ["tenant": "t-\(index % 5)", "n": "\(index)"]))
    }
    let records = try contexts.enumerated().map { index, context in try seal([UInt8(index % 251)], context) }
    var tried = 0
    for (index, record) in records.enumerated() {
      for (place, context) in contexts.enumerated() {
        let error = await refusal(record, context)
        if index == place {
          #expect(error == nil, "record \(index)")
        } else {
          #expect(error == KeyCustodyError(.integrityFailure, .notAuthentic, ""), "\(index) as \(place)")
          tried += 1
        }
      }
    }
    #expect(tried == 89_700)
    print("sealed records: \(tried) swaps: 0 opened")
  }

  @Test("The two layers of a record or of two records don't change places")
  func layers() async throws {
    let record = try seal(pattern(40), context)
    let inner = try RecordLayer.open(record, key: keys.customer, layer: .customer, context: context)
    // The inner layer alone, the outer layer twice, the layers in the other order.
    let twice = try RecordLayer.seal(record, key: keys.customer, layer: .customer, context: context, random: Fresh())
    let turned = try RecordLayer.seal(
      try RecordLayer.seal(pattern(40), key: keys.customer, layer: .customer, context: context, random: Fresh()),
      key: keys.service, layer: .service, context: context, random: Fresh())
    for form in [inner, twice, turned] {
      let error = await refusal(form, context)
      #expect(isExpected(error))
    }
  }
  private typealias Fresh = SystemRandom
}
