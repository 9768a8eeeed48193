#if CommandLine
  import KeyCustody
  import KeyCustodyServices
  import Synchronization

  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif

  /// What a command finds where it runs inside a server, asked for over the server's own socket.
  struct Running: Sendable {
    /// The deployment that is open already.
    let custody: KeyCustody
    /// Where relative paths of the asker start.
    let directory: String
    /// What the asker piped in.
    let input: [UInt8]
    /// What the command prints goes here.
    let printed: Printed

    /// The one of this task; `nil` in a command of its own process.
    @TaskLocal static var current: Running?

    /// What was printed to standard output (1) and standard error (2).
    final class Printed: Sendable {
      private let texts = Mutex<[Int32: String]>([:])
      func append(_ text: String, to descriptor: Int32) { texts.withLock { $0[descriptor, default: ""] += text } }
      subscript(descriptor: Int32) -> String { texts.withLock { $0[descriptor] ?? "" } }
    }

    /// The same path from the root on, for what is written down.
    static func absolute(_ text: String) -> String {
      let directory = current?.directory ?? FileManager.default.currentDirectoryPath
      return text.hasPrefix("/") ? text : "\(directory)/\(text)"
    }

    /// A path as the asker means it.
    static func path(_ text: String) -> String {
      guard let current, !text.hasPrefix("/") else { return text }
      return "\(current.directory)/\(text)"
    }
  }
#endif
