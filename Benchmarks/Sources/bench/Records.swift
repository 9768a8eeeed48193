import CBaseline
import Crypto
import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices

/// The sizes of records, with how often one is done in a round.
private let sizes: [(bytes: Int, name: String, count: Int)] = [
  (16, "16B", 50_000), (100, "100B", 50_000), (1 << 10, "1KiB", 50_000), (16 << 10, "16KiB", 10_000),
  (1 << 20, "1MiB", 200),
]

/// One size of record: what is sealed, and buffers of the right lengths.
private struct Sample {
  let count: Int
  let size: Int
  let value: [UInt8]
  let name: String

  init(_ size: (bytes: Int, name: String, count: Int)) {
    count = Options.current.isQuick ? max(size.count / 25, 10) : size.count
    self.size = size.bytes
    name = size.name
    value = [UInt8](repeating: 0x5a, count: size.bytes)
  }

  func baselineSeal(_ layers: Int32) -> Double { Double(baseline_seal(size, layers, Int32(count))) / Double(count) }
  func baselineOpen(_ layers: Int32) -> Double { Double(baseline_open(size, layers, Int32(count))) / Double(count) }

  func seal(_ sealer: RecordSealer) async throws -> Double {
    var buffer = [UInt8](repeating: 0, count: size + sealer.overhead)
    return try await time(count) {
      for _ in 0..<count {
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        try sealer.seal(value.span.bytes, as: "record", into: &bytes)
      }
    }
  }

  func open(_ opener: RecordOpener, _ sealed: [UInt8]) async throws -> Double {
    var buffer = [UInt8](repeating: 0, count: size)
    let result = try await time(count) {
      for _ in 0..<count {
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        try opener.open(sealed.span.bytes, as: "record", into: &bytes)
      }
    }
    guard buffer == value else { throw Unexpected(description: "What was sealed did not open.") }
    return result
  }
}

func rootKey(_ byte: UInt8) throws -> RootKey {
  try RootKey(material: SecretBytes(copying: [UInt8](repeating: byte, count: RootKey.materialLength)))
}

/// Plain calls into a caller's buffer, in one layer (R1, R2) and two (R3).
func plainRecords() async throws {
  let keys = LayeredKeys(service: try rootKey(1), customer: try rootKey(2))
  let (resource, dataClass) = (try ResourceID("bench"), try DataClass("long-term"))
  let random = SystemRandom()
  let one = RecordSealer(key: keys.service, layer: .service, resource: resource, dataClass: dataClass, random: random)
  let oneOpener = RecordOpener(key: keys.service, layer: .service, resource: resource, dataClass: dataClass)
  let two = RecordSealer(keys: keys, resource: resource, dataClass: dataClass, random: random)
  let twoOpener = RecordOpener(
    keys: [(.service, keys.service), (.customer, keys.customer)], resource: resource, dataClass: dataClass)
  let goal = Goal.time(atMost: 1.25)
  for size in sizes {
    let sample = Sample(size)
    if Options.current.includes(.sealRecord) {
      try await row("R1", "seal-\(sample.name)", "evp", goal: goal, ours: { try await sample.seal(one) }) {
        sample.baselineSeal(1)
      }
    }
    if Options.current.includes(.openRecord) {
      let sealed = try one.seal(sample.value, as: "record")
      try await row("R2", "open-\(sample.name)", "evp", goal: goal, ours: { try await sample.open(oneOpener, sealed) })
      {
        sample.baselineOpen(1)
      }
    }
    if Options.current.includes(.twoLayers) {
      let sealed = try two.seal(sample.value, as: "record")
      try await row("R3", "seal-two-layers-\(sample.name)", "evp", goal: goal, ours: { try await sample.seal(two) }) {
        sample.baselineSeal(2)
      }
      try await row(
        "R3", "open-two-layers-\(sample.name)", "evp", goal: goal, ours: { try await sample.open(twoOpener, sealed) }
      ) { sample.baselineOpen(2) }
    }
  }
  if Options.current.includes(.openRecord) { try await underManyKeys(keys.service, resource, dataClass) }
}

/// Opening where the derived key is never at hand: more sealers wrote than derived keys are kept.
private func underManyKeys(_ key: RootKey, _ resource: ResourceID, _ dataClass: DataClass) async throws {
  let material = [UInt8](repeating: 1, count: RootKey.materialLength)
  var sealed: [[UInt8]] = []
  for _ in 0..<64 {
    let other = try RootKey(material: SecretBytes(copying: material))
    let sealer = RecordSealer(
      key: other, layer: .service, resource: resource, dataClass: dataClass, random: SystemRandom())
    sealed.append(try sealer.seal([UInt8](repeating: 0x5a, count: 100), as: "record"))
  }
  let records = sealed
  let opener = RecordOpener(key: key, layer: .service, resource: resource, dataClass: dataClass)
  let count = Options.current.isQuick ? 2_000 : 50_000
  var buffer = [UInt8](repeating: 0, count: 100)
  try await row(
    "R2", "open-100B-new-key", "evp", goal: .time(atMost: 1.25, extra: 1000),
    ours: {
      try await time(count) {
        for index in 0..<count {
          var span = buffer.mutableSpan
          var bytes = span.mutableBytes
          let record = records[index % records.count]
          try opener.open(record.span.bytes, as: "record", into: &bytes)
        }
      }
    }, baseline: { Double(baseline_open(100, 1, Int32(count))) / Double(count) })
}

/// Two layers through the interface of a resource whose lease is alive: its `async` calls, and its sealer and opener.
func resourceRecords(_ resource: ProtectedResource) async throws {
  // A quarter over the cipher, and a quarter of a microsecond for the lease and the hop.
  let goal = Goal.time(atMost: 1.25, extra: 250)
  let (sealer, opener) = (try await resource.sealer(), try await resource.opener())
  for size in sizes where [100, 1024].contains(size.bytes) {
    let sample = Sample(size)
    let (count, value, name) = (sample.count, sample.value, sample.name)
    let sealed = try await resource.seal(value, as: "record")
    guard try await resource.open(sealed, as: "record") == value else {
      throw Unexpected(description: "What was sealed did not open.")
    }
    let seal = { try await time(count) { for _ in 0..<count { _ = try await resource.seal(value, as: "record") } } }
    let open = { try await time(count) { for _ in 0..<count { _ = try await resource.open(sealed, as: "record") } } }
    let evpSeal = { sample.baselineSeal(2) }
    let evpOpen = { sample.baselineOpen(2) }
    try await row("R4", "seal-async-\(name)", "evp", goal: goal, ours: seal, baseline: evpSeal)
    try await row("R4", "open-async-\(name)", "evp", goal: goal, ours: open, baseline: evpOpen)
    try await row(
      "R4", "seal-sealer-\(name)", "evp", goal: goal,
      ours: { try await time(count) { for _ in 0..<count { _ = try sealer.seal(value, as: "record") } } },
      baseline: evpSeal)
    try await row(
      "R4", "open-opener-\(name)", "evp", goal: goal,
      ours: { try await time(count) { for _ in 0..<count { _ = try opener.open(sealed, as: "record") } } },
      baseline: evpOpen)
    try await comparison(sample, seal, open)
  }
}

/// The simplest thing somebody would write instead: AES-GCM of swift-crypto, twice, with the same context.
private func comparison(
  _ sample: Sample, _ seal: () async throws -> Double, _ open: () async throws -> Double
) async throws {
  let (inner, outer) = (SymmetricKey(size: .bits256), SymmetricKey(size: .bits256))
  let context = Array("bench/long-term/record".utf8)
  let (value, count) = (sample.value, sample.count)
  let nested: () throws -> [UInt8] = {
    let box = try AES.GCM.seal(value, using: inner, authenticating: context)
    guard let combined = box.combined else { throw Unexpected(description: "swift-crypto gave no combined form.") }
    guard let sealed = try AES.GCM.seal(combined, using: outer, authenticating: context).combined else {
      throw Unexpected(description: "swift-crypto gave no combined form.")
    }
    return [UInt8](sealed)
  }
  let theirs = try nested()
  try await row("R4", "seal-async-\(sample.name)", "swift-crypto", goal: .comparison, ours: seal) {
    try await time(count) { for _ in 0..<count { _ = try nested() } }
  }
  try await row("R4", "open-async-\(sample.name)", "swift-crypto", goal: .comparison, ours: open) {
    try await time(count) {
      for _ in 0..<count {
        let middle = try AES.GCM.open(AES.GCM.SealedBox(combined: theirs), using: outer, authenticating: context)
        _ = try AES.GCM.open(AES.GCM.SealedBox(combined: middle), using: inner, authenticating: context)
      }
    }
  }
}
