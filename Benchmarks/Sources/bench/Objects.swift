import CBaseline
import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices

/// Objects in memory, one core: against the cipher alone at 16 KiB a message.
func objects() async throws {
  let goal = Goal.speed(atLeast: 0.95)
  let pieceCount = Options.current.isQuick ? 16 : 256
  let piece = [UInt8](repeating: 0xa5, count: 1 << 20)
  let chunks = Int32(pieceCount * 64)
  let key = try rootKey(1)
  let context = try SealingContext(
    resource: try ResourceID("bench"), dataClass: try DataClass("long-term"), object: "object")
  var buffer: [UInt8] = []
  buffer.reserveCapacity(3 << 20)

  func seal(_ take: ([UInt8]) -> Void) throws {
    var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
    for _ in 0..<pieceCount {
      buffer.removeAll(keepingCapacity: true)
      try sealer.update(piece.span.bytes, into: &buffer)
      take(buffer)
    }
    buffer.removeAll(keepingCapacity: true)
    try sealer.finish(into: &buffer)
    take(buffer)
  }
  var sealed: [[UInt8]] = []
  try seal { sealed.append(Array($0)) }
  let sealedPieces = sealed

  try await row(
    "R5", "seal-object", "evp", goal: goal, unit: "us/MiB", ours: { try await time(pieceCount) { try seal { _ in } } },
    baseline: { Double(baseline_seal(16 << 10, 1, chunks)) / Double(pieceCount) })
  try await row(
    "R5", "open-object", "evp", goal: goal, unit: "us/MiB",
    ours: {
      try await time(pieceCount) {
        var opener = ObjectLayerOpener(key: key, layer: .service, context: context)
        for sealed in sealedPieces {
          buffer.removeAll(keepingCapacity: true)
          try opener.update(sealed.span.bytes, into: &buffer)
        }
        try opener.finish(into: &buffer)
      }
    }, baseline: { Double(baseline_open(16 << 10, 1, chunks)) / Double(pieceCount) })
}

private func pieces(_ piece: [UInt8], _ count: Int) -> AsyncStream<[UInt8]> {
  AsyncStream { continuation in
    for _ in 0..<count { continuation.yield(piece) }
    continuation.finish()
  }
}

/// Objects as streams through a resource, two layers, one core; and the outer layer renewed.
func streamedObjects(_ resource: ProtectedResource) async throws {
  let goal = Goal.speed(atLeast: 0.95)
  let pieceCount = Options.current.isQuick ? 16 : 128
  let piece = [UInt8](repeating: 0xa5, count: 1 << 20)
  let chunks = Int32(pieceCount * 64)
  var collected: [[UInt8]] = []
  for try await sealed in try await resource.sealStream(pieces(piece, pieceCount), as: "object") {
    collected.append(sealed)
  }
  let sealedPieces = collected
  try await row(
    "R5", "seal-stream-two-layers", "evp", goal: goal, unit: "us/MiB",
    ours: {
      try await time(pieceCount) {
        for try await _ in try await resource.sealStream(pieces(piece, pieceCount), as: "object") {}
      }
    }, baseline: { Double(baseline_seal(16 << 10, 2, chunks)) / Double(pieceCount) })
  try await row(
    "R5", "open-stream-two-layers", "evp", goal: goal, unit: "us/MiB",
    ours: {
      try await time(pieceCount) {
        let stream = AsyncStream { continuation in
          for piece in sealedPieces { continuation.yield(piece) }
          continuation.finish()
        }
        for try await _ in try await resource.openStream(stream, as: "object") {}
      }
    }, baseline: { Double(baseline_open(16 << 10, 2, chunks)) / Double(pieceCount) })
}
