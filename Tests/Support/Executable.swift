import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A program of this package, for tests that need a process of its own.
public struct Executable: Sendable {
  /// Where it lies.
  public let path: String

  /// Finds a program that was built beside these tests.
  public init(_ name: String) throws {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
    let own = String(decoding: buffer.prefix(max(0, length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    path = URL(filePath: own).deletingLastPathComponent().appending(path: name).path(percentEncoded: false)
    guard unsafe access(path, X_OK) == 0 else { throw CocoaError(.fileNoSuchFile) }
  }

  /// A program that is installed.
  public init(at path: String) throws {
    self.path = path
    guard unsafe access(path, X_OK) == 0 else { throw CocoaError(.fileNoSuchFile) }
  }

  /// Runs it to its end, with these variables beside the usual ones and none of KeyCustody's or OpenSSL's.
  public func run(_ arguments: [String], _ variables: [String: String] = [:]) throws -> (status: Int32, output: String)
  {
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
      !name.hasPrefix("KEYCUSTODY_") && !name.hasPrefix("OPENSSL_")
    }.merging(variables) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, output)
  }
}
