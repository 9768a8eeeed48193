import CBaseline
import KeyCustodyServices

func pieces(_ piece: [UInt8], _ count: Int) -> AsyncStream<[UInt8]> {
  AsyncStream { continuation in
    for _ in 0..<count { continuation.yield(piece) }
    continuation.finish()
  }
}

/// Objects: two layers in memory, against the cipher alone at 16 KiB a message.
func objects(_ resource: ProtectedResource) async throws {
  let pieceCount = isQuick ? 8 : 128
  let piece = [UInt8](repeating: 0xa5, count: 1 << 20)
  let chunkCount = pieceCount * 64
  var collected: [[UInt8]] = []
  for try await sealed in try await resource.sealStream(pieces(piece, pieceCount), as: "object") {
    collected.append(sealed)
  }
  let sealedPieces = collected

  try await row(
    "R5", "seal-object-two-layers", "evp", unit: "us/MiB",
    ours: {
      try await time(pieceCount) {
        for try await _ in try await resource.sealStream(pieces(piece, pieceCount), as: "object") {}
      }
    },
    baseline: { Double(baseline_seal(16 << 10, 2, Int32(chunkCount))) / Double(pieceCount) })
  try await row(
    "R5", "open-object-two-layers", "evp", unit: "us/MiB",
    ours: {
      try await time(pieceCount) {
        let stream = AsyncStream { continuation in
          for piece in sealedPieces { continuation.yield(piece) }
          continuation.finish()
        }
        for try await _ in try resource.openStream(stream, as: "object") {}
      }
    },
    baseline: { Double(baseline_open(16 << 10, 2, Int32(chunkCount))) / Double(pieceCount) })
}
