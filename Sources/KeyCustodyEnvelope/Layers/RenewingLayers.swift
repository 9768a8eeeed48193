internal import KeyCustody

/// How often a key is asked for again before giving up, when each answer's lease has ended at once.
let maximumRenewals = 4

/// The size of the pieces that drivers work on, and after which they ask for keys again: 1 MiB.
let pieceLength = 1 << 20

/// What goes through two layers in one go.
private let cachedLength = 128 << 10

/// Seals one layer of an object under a lease that may be renewed on the way: asked for again once it has ended or is
/// suspended, and at every piece of 1 MiB where there is none.
///
/// For one task at a time.
final class RenewingSealer {
  private var sealer: ObjectLayerSealer
  private var sinceAsked = 0
  private let layer: Layer
  private let source: (any RootKeySource)?
  private let isRenewal: Bool

  /// - Parameter isRenewal: whether it comes in place of another layer, whose key is asked for at every piece.
  init(
    key: RootKey, source: (any RootKeySource)?, layer: Layer, context: SealingContext, random: any RandomSource,
    isRenewal: Bool = false
  ) async throws(KeyCustodyError) {
    var key = key
    if key.needsLease, let source { key = try await source.rootKey(key.id, layer: layer) }
    sealer = try ObjectLayerSealer(key: key, layer: layer, context: context, random: random)
    self.layer = layer
    self.source = source
    self.isRenewal = isRenewal
  }

  func update(
    _ content: [UInt8], _ range: Range<Int>, into output: inout [UInt8]
  ) async throws(KeyCustodyError) {
    let start = sealer.consumed
    try await renewing { (sealer) throws(KeyCustodyError) in
      let rest = (range.lowerBound + Int(sealer.consumed - start))..<range.upperBound
      try sealer.update(unsafe content.span.bytes.extracting(rest), into: &output)
    }
    sinceAsked += range.count
  }

  func finish(into output: inout [UInt8]) async throws(KeyCustodyError) {
    try await renewing { (sealer) throws(KeyCustodyError) in try sealer.finish(into: &output) }
  }

  private func renewing(
    _ step: (inout ObjectLayerSealer) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    for attempt in 1... {
      let isDue = sinceAsked >= pieceLength && !isRenewal && !sealer.keyInUse.isLeased
      if sealer.needsLease || isDue, let source {
        let key = try await source.rootKey(sealer.keyInUse.id, layer: layer)
        try sealer.renew(key)
        sinceAsked = 0
      }
      do throws(KeyCustodyError) {
        return try step(&sealer)
      } catch {
        guard error.reason == .leaseEnded, source != nil, attempt < maximumRenewals else { throw error }
      }
    }
  }
}

/// Opens one layer of an object, asking for its key once the header is known, and again at every piece of 1 MiB.
///
/// For one task at a time.
final class RenewingOpener {
  private var opener: ObjectLayerOpener?
  /// The first bytes, until they make a header.
  private var head: [UInt8] = []
  private var sinceAsked = 0
  private let layer: Layer
  private let context: SealingContext
  private let source: any RootKeySource

  init(source: any RootKeySource, layer: Layer, context: SealingContext) {
    self.source = source
    self.layer = layer
    self.context = context
  }

  func update(
    _ sealed: [UInt8], _ range: Range<Int>, into output: inout [UInt8]
  ) async throws(KeyCustodyError) {
    if opener == nil {
      head += sealed[range]
      guard head.count >= SealedHeader.length else { return }
      let header = try SealedHeader(parsing: head)
      try header.require(.object)
      let key = try await source.rootKey(header.rootKey, layer: layer)
      opener = ObjectLayerOpener(key: key, layer: layer, context: context)
      let first = head
      head = []
      try await feed(first, first.indices, into: &output)
    } else {
      try await feed(sealed, range, into: &output)
    }
  }

  func finish(into output: inout [UInt8]) async throws(KeyCustodyError) {
    guard opener != nil else { throw truncated("The sealed object") }
    // The end is a piece too: a short object's only one.
    sinceAsked = pieceLength
    try await renewing { (opener) throws(KeyCustodyError) in try opener.finish(into: &output) }
  }

  private func feed(
    _ sealed: [UInt8], _ range: Range<Int>, into output: inout [UInt8]
  ) async throws(KeyCustodyError) {
    let start = opener?.consumed ?? 0
    try await renewing { (opener) throws(KeyCustodyError) in
      let rest = (range.lowerBound + Int(opener.consumed - start))..<range.upperBound
      try opener.update(unsafe sealed.span.bytes.extracting(rest), into: &output)
    }
    sinceAsked += range.count
  }

  private func renewing(
    _ step: (inout ObjectLayerOpener) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    for attempt in 1... {
      guard var opener = opener.take() else { throw truncated("The sealed object") }
      let outcome: Result<Void, KeyCustodyError>
      do throws(KeyCustodyError) {
        if sinceAsked >= pieceLength || opener.keyInUse.needsLease {
          try opener.renew(try await source.rootKey(opener.keyInUse.id, layer: layer))
          sinceAsked = 0
        }
        outcome = .success(try step(&opener))
      } catch {
        outcome = .failure(error)
      }
      self.opener = consume opener
      guard case .failure(let error) = outcome else { return }
      guard error.reason == .leaseEnded, attempt < maximumRenewals else { throw error }
    }
  }
}

/// Something that turns a stream of bytes into another, in pieces of at most 1 MiB.
///
/// For one task at a time.
protocol PieceTransform: AnyObject {
  func update(_ input: [UInt8], _ range: Range<Int>, into output: inout [UInt8]) async throws(KeyCustodyError)
  func finish(into output: inout [UInt8]) async throws(KeyCustodyError)
}

extension RenewingSealer: PieceTransform {}
extension RenewingOpener: PieceTransform {}

/// One transform after another: the bytes in between are never complete anywhere.
final class Chain<First: PieceTransform, Second: PieceTransform>: PieceTransform {
  private let first: First
  private let second: Second
  private var between: [UInt8] = []

  init(_ first: First, _ second: Second) {
    self.first = first
    self.second = second
  }

  func update(
    _ input: [UInt8], _ range: Range<Int>, into output: inout [UInt8]
  ) async throws(KeyCustodyError) {
    // In parts that stay in the processor's cache until the second has had them.
    for start in stride(from: range.lowerBound, to: range.upperBound, by: cachedLength) {
      between.removeAll(keepingCapacity: true)
      try await first.update(input, start..<min(start + cachedLength, range.upperBound), into: &between)
      if !between.isEmpty { try await second.update(between, between.indices, into: &output) }
    }
  }

  func finish(into output: inout [UInt8]) async throws(KeyCustodyError) {
    between.removeAll(keepingCapacity: true)
    try await first.finish(into: &between)
    if !between.isEmpty { try await second.update(between, between.indices, into: &output) }
    try await second.finish(into: &output)
  }
}
