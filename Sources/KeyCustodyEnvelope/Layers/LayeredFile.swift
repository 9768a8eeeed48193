internal import KeyCustody

/// Two layers' work on a file, cut into units that workers take in any order.
///
/// The first layer's chunks make a stream that exists only in pieces; the second layer cuts it into chunks of its own.
/// Where a chunk of the second layer lies across two units, whoever comes second does it.
struct LayeredFile: Sendable {
  /// So small that what is between the layers stays in the processor's cache.
  static let chunksPerUnit = 16

  let first: LayerRecipe
  let second: LayerRecipe
  /// Where the first layer's chunks begin in the source.
  let sourceOffset: Int64
  /// What the source holds behind that.
  let sourceLength: Int64
  /// What the stream begins with, before the first layer's chunks: a new inner layer's prelude.
  let streamStart: [UInt8]
  /// What the target begins with: a new outer layer's prelude.
  let targetStart: [UInt8]
  /// The length of the stream between the layers.
  private let streamLength: Int64
  /// Where the second layer's chunks begin in the stream.
  private let grid: Int64

  /// Fits two recipes together.
  ///
  /// - Throws: `integrityFailure` (`truncated`) for lengths that can't be.
  init(
    _ first: LayerRecipe, _ second: LayerRecipe, size: Int64, streamStart: [UInt8] = [], targetStart: [UInt8] = []
  ) throws(KeyCustodyError) {
    self.first = first
    self.second = second
    self.streamStart = streamStart
    self.targetStart = targetStart
    let prelude = Int64(Cobblestone.preludeLength)
    if first.isSealing {
      sourceOffset = 0
      try Cobblestone.requireRoom(UInt64(size / Int64(Cobblestone.chunkLength)))
      streamLength = prelude + Cobblestone.sealedLength(content: size)
    } else {
      sourceOffset = prelude
      guard let length = Cobblestone.contentLength(sealed: size) else { throw truncated("The sealed object") }
      streamLength = length
    }
    sourceLength = size - sourceOffset
    grid = second.isSealing ? 0 : prelude
    guard second.isSealing || Cobblestone.contentLength(sealed: streamLength) != nil else {
      throw truncated("The sealed object")
    }
  }

  private var unitLength: Int64 { Int64(Self.chunksPerUnit * first.chunkLength) }
  private var cell: Int64 { Int64(second.chunkLength) }

  /// How many units there are: at least one, since the last chunk may be empty.
  ///
  /// Whole chunks are never the last: a source of whole chunks has an empty one behind them.
  var unitCount: Int64 {
    let chunks = sourceLength / Int64(first.chunkLength) + 1
    return (chunks + Int64(Self.chunksPerUnit) - 1) / Int64(Self.chunksPerUnit)
  }

  /// One unit: what it reads, and which part of the stream it makes.
  struct Unit {
    let number: Int64
    let isLast: Bool
    /// In the source.
    let source: Range<Int64>
    /// The index of its first chunk.
    let firstChunk: UInt64
    /// In the stream.
    let stream: Range<Int64>
    /// The second layer's chunks that lie in it whole, or end the stream.
    let cells: Range<Int64>
    /// How many bytes at its start belong to a chunk that began in the unit before; `nil` when none began there.
    ///
    /// The last unit may bring none, and that chunk ends the stream.
    let head: Int?
    /// Where the chunk begins that ends in the next unit; the unit's end where there is none.
    let tail: Int
    /// Whether the head ends the stream.
    let headIsEnd: Bool
  }

  func unit(_ number: Int64) -> Unit {
    let isLast = number == unitCount - 1
    let start = sourceOffset + number * unitLength
    let end = isLast ? sourceOffset + sourceLength : start + unitLength
    let perUnit = Int64(Self.chunksPerUnit)
    let made = Int64(first.isSealing ? Cobblestone.sealedChunkLength : Cobblestone.chunkLength)
    let from = number == 0 ? 0 : Int64(streamStart.count) + number * perUnit * made
    let to = isLast ? streamLength : Int64(streamStart.count) + (number + 1) * perUnit * made
    let firstCell = number == 0 ? 0 : (from - grid + cell - 1) / cell
    let lastCell = isLast ? (streamLength - grid) / cell + 1 : max((to - grid) / cell, firstCell)
    return Unit(
      number: number, isLast: isLast, source: start..<end, firstChunk: UInt64(number * perUnit), stream: from..<to,
      cells: firstCell..<max(firstCell, lastCell),
      head: number == 0 || grid + firstCell * cell == from ? nil : Int(min(grid + firstCell * cell, to) - from),
      tail: isLast ? Int(to - from) : Int(min(grid + lastCell * cell, to) - from),
      headIsEnd: isLast && firstCell >= lastCell)
  }

  /// Where a chunk of the second layer begins in the stream.
  func streamOffset(ofCell index: Int64) -> Int64 { grid + index * cell }

  /// Where what a chunk of the second layer becomes begins in the target.
  func targetOffset(ofCell index: Int64) -> Int64 {
    second.isSealing
      ? Int64(targetStart.count) + index * Int64(Cobblestone.sealedChunkLength)
      : index * Int64(Cobblestone.chunkLength)
  }
}
