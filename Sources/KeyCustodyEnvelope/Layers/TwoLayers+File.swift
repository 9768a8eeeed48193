public import KeyCustody

extension TwoLayers {
  /// Seals a file into another, which then holds an object.
  ///
  /// It works on a thread of its own. The target appears whole or not at all: a temporary file beside it is written,
  /// brought to stable storage and put in its place. On any error the target is as it was.
  /// - Parameters:
  ///   - source: Where a key is asked for again, by its name, when its lease ended on the way.
  ///   - progress: Told the bytes of the file read so far, at every piece of 1 MiB, on the working thread.
  /// - Throws: `notFound`, `denied`, `invalidInput` (`malformed`) for what is not a regular file; `unavailable`
  ///   (`source-changed`) when the file changed, shrank or went away meanwhile, (`cancelled`) when the task was
  ///   cancelled, (`lease-ended`), (`unreachable`) for a full disk and the like.
  public static func sealFile(
    from path: String, to target: String, keys: LayeredKeys, renewingFrom source: (any RootKeySource)? = nil,
    context: SealingContext, random: any RandomSource, progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    try await FileTransform(from: path, to: target, progress: progress).run {
      () async throws(KeyCustodyError) in
      try await sealing(keys, source: source, context: context, random: random)
    }
  }

  /// Opens a file that holds an object into another, which then holds its content, readable by this user alone.
  ///
  /// - Throws: as ``sealFile(from:to:keys:renewingFrom:context:random:progress:)``, and as ``ObjectLayerOpener``.
  public static func openFile(
    from path: String, to target: String, keys source: any RootKeySource, context: SealingContext,
    progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    try await FileTransform(from: path, to: target, progress: progress).run {
      () async throws(KeyCustodyError) in opening(source, context: context)
    }
  }

  /// Seals the outer layer of a file's object anew, under another root key, in place.
  ///
  /// The inner layer stays closed.
  ///
  /// - Throws: as ``sealFile(from:to:keys:renewingFrom:context:random:progress:)``, and as ``ObjectLayerOpener``.
  public static func renewOuterLayer(
    ofFile path: String, from source: any RootKeySource, to newKey: RootKey, context: SealingContext,
    random: any RandomSource, progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    try await FileTransform(from: path, to: path, progress: progress).run {
      () async throws(KeyCustodyError) in
      try await renewing(from: source, to: newKey, context: context, random: random)
    }
  }
}

/// Puts one file through a transform into another, on a thread of its own.
private actor FileTransform {
  private let path: String
  private let target: String
  private let progress: (@Sendable (Int64) -> Void)?
  private let thread: DedicatedThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

  init(from path: String, to target: String, progress: (@Sendable (Int64) -> Void)?) throws(KeyCustodyError) {
    self.path = path
    self.target = target
    self.progress = progress
    thread = try DedicatedThread()
  }

  func run<Transform: PieceTransform>(
    _ make: @Sendable () async throws(KeyCustodyError) -> sending Transform
  ) async throws(KeyCustodyError) {
    let transform = try await make()
    let source = try OpenFile(reading: path)
    let replacement = try ReplacementFile(for: target)
    do throws(KeyCustodyError) {
      try await copy(source, to: replacement, through: transform)
      try replacement.commit { () throws(KeyCustodyError) in try source.requireUnchanged() }
    } catch {
      replacement.discard()
      throw error
    }
  }

  private func copy(
    _ source: OpenFile, to replacement: ReplacementFile, through transform: some PieceTransform
  ) async throws(KeyCustodyError) {
    var input: [UInt8] = []
    var output: [UInt8] = []
    input.reserveCapacity(pieceLength)
    output.reserveCapacity(pieceLength + pieceLength / 16)
    var offset: Int64 = 0
    while true {
      if Task.isCancelled {
        throw KeyCustodyError(.unavailable, .cancelled, "The work was cancelled; \(shown(target)) is as it was.")
      }
      input.removeAll(keepingCapacity: true)
      output.removeAll(keepingCapacity: true)
      try source.read(at: offset, count: pieceLength, into: &input)
      if input.isEmpty { break }
      offset += Int64(input.count)
      try await transform.update(input, input.indices, into: &output)
      try replacement.file.write(output)
      progress?(offset)
    }
    try await transform.finish(into: &output)
    try replacement.file.write(output)
  }
}
