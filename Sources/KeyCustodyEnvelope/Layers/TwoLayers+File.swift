public import KeyCustody

extension TwoLayers {
  /// Seals a file into another, which then holds an object.
  ///
  /// It works on a thread of its own. The target appears whole or not at all: a temporary file beside it is written,
  /// brought to stable storage and put in its place. On any error the target is as it was. It keeps the permissions of
  /// the file that it replaces; a new one is for this user alone.
  /// - Parameters:
  ///   - source: Where a key is asked for again, by its name, when its lease ended or was suspended on the way.
  ///   - progress: Told the bytes of the file read so far, at every piece of 1 MiB, on the working thread.
  /// - Throws: `notFound`, `denied`, `invalidInput` (`malformed`) for what is not a regular file; `unavailable`
  ///   (`source-changed`) when the file changed, shrank or went away meanwhile, (`cancelled`) when the task was
  ///   cancelled, (`lease-ended`), (`unreachable`) for a full disk and the like.
  public static func sealFile(
    from path: String, to target: String, keys: LayeredKeys, renewingFrom source: (any RootKeySource)? = nil,
    context: SealingContext, random: any RandomSource, progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    try await sealFile(
      from: path, to: target, shownAs: target, keys: keys, renewingFrom: source, context: context, random: random,
      progress: progress)
  }

  /// Seals a file into another that messages give the name of a third, which it is going to become.
  package static func sealFile(
    from path: String, to target: String, shownAs name: String, keys: LayeredKeys,
    renewingFrom source: (any RootKeySource)?, context: SealingContext, random: any RandomSource,
    progress: (@Sendable (Int64) -> Void)?
  ) async throws(KeyCustodyError) {
    try await FileWorker().transform(
      path, to: target, shownAs: name, .kept, progress: progress
    ) { (size, _) throws(KeyCustodyError) in
      let inner = try await LayerRecipe.sealing(keys.service, .service, context, source: source, random: random)
      let outer = try await LayerRecipe.sealing(keys.customer, .customer, context, source: source, random: random)
      return try LayeredFile(
        inner, outer, size: size, streamStart: try await LayerWork(inner).prelude(),
        targetStart: try await LayerWork(outer).prelude())
    }
  }

  /// Opens a file that holds an object into another, which then holds its content, for this user alone (mode 0600): the
  /// permissions of a file that it replaces don't count.
  ///
  /// - Throws: as ``sealFile(from:to:keys:renewingFrom:context:random:progress:)``, and as ``ObjectLayerOpener``.
  public static func openFile(
    from path: String, to target: String, keys source: any RootKeySource, context: SealingContext,
    progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    do throws(KeyCustodyError) {
      try await FileWorker().transform(
        path, to: target, .own, progress: progress
      ) { (size, file) throws(KeyCustodyError) in
        let (outer, start) = try await openOuter(file, size, source, context)
        let inner = try await LayerRecipe.opening(start, .service, context, source: source)
        return try LayeredFile(outer, inner, size: size)
      }
    } catch {
      guard error.code == .integrityFailure else { throw error }
      throw KeyCustodyError(
        error.code, error.reason, "The file \(shown(path)) does not open. \(error.message)", remedy: error.remedy,
        diagnostic: error.diagnostic)
    }
  }

  /// Seals the outer layer of a file's object anew, under another root key, in place.
  ///
  /// The inner layer stays closed. The file keeps its permissions.
  ///
  /// - Throws: as ``sealFile(from:to:keys:renewingFrom:context:random:progress:)``, and as ``ObjectLayerOpener``.
  public static func renewOuterLayer(
    ofFile path: String, from source: any RootKeySource, to newKey: RootKey, context: SealingContext,
    random: any RandomSource, progress: (@Sendable (Int64) -> Void)? = nil
  ) async throws(KeyCustodyError) {
    try await FileWorker().transform(
      path, to: path, .kept, progress: progress
    ) { (size, file) throws(KeyCustodyError) in
      let (outer, start) = try await openOuter(file, size, source, context)
      // What comes out must be a layer of ours: plaintext never passes here.
      try SealedHeader(parsing: start).require(.object)
      let new = try await LayerRecipe.sealing(
        newKey, .customer, context, source: source, random: random, isRenewal: true)
      return try LayeredFile(outer, new, size: size, targetStart: try await LayerWork(new).prelude())
    }
  }

  /// The outer layer of a file, and the first bytes within it: the inner layer's prelude, if it is one.
  private static func openOuter(
    _ file: OpenFile, _ size: Int64, _ source: any RootKeySource, _ context: SealingContext
  ) async throws(KeyCustodyError) -> (outer: LayerRecipe, start: [UInt8]) {
    var prelude: [UInt8] = []
    try file.read(at: 0, count: Cobblestone.preludeLength, into: &prelude)
    let outer = try await LayerRecipe.opening(prelude, .customer, context, source: source)
    guard let length = Cobblestone.contentLength(sealed: size) else { throw truncated("The sealed object") }
    var chunk: [UInt8] = []
    try file.read(at: Int64(Cobblestone.preludeLength), count: Cobblestone.sealedChunkLength, into: &chunk)
    var content: [UInt8] = []
    let isEnd = length < Int64(Cobblestone.chunkLength)
    try await LayerWork(outer).process(chunk, chunk.indices, first: 0, isEnd: isEnd, into: &content)
    return (outer, Array(content.prefix(Cobblestone.preludeLength)))
  }
}

extension FileWorker {
  /// Puts one file through two layers into another.
  ///
  /// - Parameters:
  ///   - name: What messages call the target.
  ///   - plan: Says how, once the source's size and first bytes are known.
  func transform(
    _ path: String, to target: String, shownAs name: String? = nil, _ permissions: ReplacementFile.Permissions,
    progress: (@Sendable (Int64) -> Void)?,
    by plan: @Sendable (_ size: Int64, _ source: OpenFile) async throws(KeyCustodyError) -> LayeredFile
  ) async throws(KeyCustodyError) {
    let source = try OpenFile(reading: path)
    let plan = try await plan(source.size, source)
    let replacement = try ReplacementFile(for: target, shownAs: name, permissions)
    do throws(KeyCustodyError) {
      try await FileJob(plan, from: source, to: replacement.file, progress: progress).run(on: self)
      try replacement.commit { () throws(KeyCustodyError) in try source.requireUnchanged() }
    } catch {
      replacement.discard()
      throw error
    }
  }
}
