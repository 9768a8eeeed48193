public import KeyCustody

/// The bytes of a regular file: those that the system has in memory are read at once, others on a thread of their own.
public final class FileBytes: RandomAccessBytes {
  /// The size at opening.
  public let size: Int64
  private let file: OpenFile
  private let worker: BlockingWorker

  /// Opens a file for reading.
  ///
  /// - Throws: `notFound`, `denied`, `invalidInput` (`malformed`) for what is not a regular file; `unavailable`.
  public init(path: String) async throws(KeyCustodyError) {
    worker = try BlockingWorker()
    file = try await worker.run { () throws(KeyCustodyError) in try OpenFile(reading: path) }
    size = file.size
  }

  /// Reads at an offset.
  public func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let range = try clamped(at: offset, count: count)
    if let bytes = file.readCached(at: range.lowerBound, count: range.count) { return bytes }
    return try await worker.run { [file] () throws(KeyCustodyError) in
      var bytes: [UInt8] = []
      try file.read(at: range.lowerBound, count: range.count, into: &bytes)
      return bytes
    }
  }
}
