public import KeyCustody

extension TwoLayers {
  /// Seals a stream of bytes into an object.
  ///
  /// The result is pulled: nothing is read from `input` before somebody asks for the next piece. Iterate it once for
  /// each object; every iteration begins a new one.
  /// - Parameter source: Where a key is asked for again, by its name, when its lease ended or was suspended on the
  ///   way; without one the stream then ends with `unavailable` (`lease-ended`).
  public static func sealStream<Input: AsyncSequence & Sendable>(
    _ input: Input, keys: LayeredKeys, renewingFrom source: (any RootKeySource)? = nil, context: SealingContext,
    random: any RandomSource
  ) -> SealingStream<Input> where Input.Element == [UInt8] {
    SealingStream(input: input, keys: keys, source: source, context: context, random: random)
  }

  /// Opens a stream of a sealed object's bytes.
  ///
  /// What comes out is authentic; that it is complete is known only when the iteration has ended without an error.
  public static func openStream<Input: AsyncSequence & Sendable>(
    _ input: Input, keys source: any RootKeySource, context: SealingContext
  ) -> OpeningStream<Input> where Input.Element == [UInt8] {
    OpeningStream(input: input, source: source, context: context)
  }
}

/// The sealed form of a stream, in the order of its bytes.
public struct SealingStream<Input: AsyncSequence & Sendable>: AsyncSequence, Sendable where Input.Element == [UInt8] {
  fileprivate let input: Input
  fileprivate let keys: LayeredKeys
  fileprivate let source: (any RootKeySource)?
  fileprivate let context: SealingContext
  fileprivate let random: any RandomSource

  /// Begins an object.
  public func makeAsyncIterator() -> Iterator { Iterator(stream: self, input: input.makeAsyncIterator()) }

  /// Seals as it is asked.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let stream: SealingStream
    private var pieces: PieceIterator<Input.AsyncIterator>
    private var transform: Chain<RenewingSealer, RenewingSealer>?

    fileprivate init(stream: SealingStream, input: Input.AsyncIterator) {
      self.stream = stream
      pieces = PieceIterator(input)
    }

    /// The next piece, never an empty one; `nil` at the end.
    public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> [UInt8]? {
      let transform: Chain<RenewingSealer, RenewingSealer>
      if let existing = self.transform {
        transform = existing
      } else {
        transform = try await TwoLayers.sealing(
          stream.keys, source: stream.source, context: stream.context, random: stream.random)
        self.transform = transform
      }
      return try await pieces.next(through: transform, isolation: actor)
    }
  }
}

/// The content of a sealed stream.
public struct OpeningStream<Input: AsyncSequence & Sendable>: AsyncSequence, Sendable where Input.Element == [UInt8] {
  fileprivate let input: Input
  fileprivate let source: any RootKeySource
  fileprivate let context: SealingContext

  /// Begins at the start of the object.
  public func makeAsyncIterator() -> Iterator {
    Iterator(transform: TwoLayers.opening(source, context: context), input: input.makeAsyncIterator())
  }

  /// Opens as it is asked.
  public struct Iterator: AsyncIteratorProtocol {
    private let transform: Chain<RenewingOpener, RenewingOpener>
    private var pieces: PieceIterator<Input.AsyncIterator>

    fileprivate init(transform: Chain<RenewingOpener, RenewingOpener>, input: Input.AsyncIterator) {
      self.transform = transform
      pieces = PieceIterator(input)
    }

    /// The next piece of content, never an empty one; `nil` at the end.
    public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> [UInt8]? {
      try await pieces.next(through: transform, isolation: actor)
    }
  }
}

/// Cuts what comes in to pieces of 1 MiB at most and puts them through a transform.
private struct PieceIterator<Base: AsyncIteratorProtocol> where Base.Element == [UInt8] {
  private enum Phase {
    case open
    case ended
    case failed(any Error)
  }
  private var base: Base
  private var pending: [UInt8] = []
  private var offset = 0
  private var phase = Phase.open

  init(_ base: Base) { self.base = base }

  mutating func next(
    through transform: some PieceTransform, isolation actor: isolated (any Actor)?
  ) async throws -> [UInt8]? {
    switch phase {
    case .open: break
    case .ended: return nil
    case .failed(let error): throw error
    }
    do {
      var output: [UInt8] = []
      while output.isEmpty {
        if offset == pending.count {
          guard let piece = try await base.next(isolation: actor) else {
            try await transform.finish(into: &output)
            phase = .ended
            return output.isEmpty ? nil : output
          }
          (pending, offset) = (piece, 0)
        }
        let end = min(offset + pieceLength, pending.count)
        try await transform.update(pending, offset..<end, into: &output)
        offset = end
      }
      return output
    } catch {
      phase = .failed(error)
      throw error
    }
  }
}
