#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A folder of a test's own, removed when the last reference to it goes.
public final class TemporaryFolder: Sendable {
  /// Its absolute path.
  public let path: String

  /// Makes a folder that only this user can enter.
  public init() throws {
    let url = FileManager.default.temporaryDirectory.appending(path: "key-custody-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(
      at: url, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    path = url.path(percentEncoded: false)
  }

  /// The path of something inside.
  public func appending(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, readable by this user alone.
  @discardableResult
  public func write(_ bytes: [UInt8], to name: String) throws -> String {
    let target = appending(name)
    guard FileManager.default.createFile(atPath: target, contents: Data(bytes), attributes: [.posixPermissions: 0o600])
    else { throw CocoaError(.fileWriteUnknown) }
    return target
  }

  /// Reads a file.
  public func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: appending(name)))) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
