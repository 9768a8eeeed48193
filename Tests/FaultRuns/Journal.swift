import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a scenario set out to do and what it was told was done, kept where the death of the process can't take it.
final class Journal: Sendable {
  /// A line of the journal.
  enum Entry: Hashable {
    /// A key version is going to be made.
    case making(KeyVersionID)
    /// It was made; the fingerprint is what tells it from others.
    case made(KeyVersionID, fingerprint: [UInt8])
    /// It is going to be destroyed.
    case destroying(KeyVersionID)
    /// It was destroyed.
    case destroyed(KeyVersionID)
    /// A secret was wrapped with it.
    case wrapped(KeyVersionID, WrapAlgorithm, [UInt8], secret: [UInt8])

    var line: String {
      switch self {
      case .making(let version): "making \(version)"
      case .made(let version, let fingerprint): "made \(version) \(fingerprint.hexadecimal)"
      case .destroying(let version): "destroying \(version)"
      case .destroyed(let version): "destroyed \(version)"
      case .wrapped(let version, let algorithm, let wrapped, let secret):
        "wrapped \(version) \(algorithm) \(wrapped.hexadecimal) \(secret.hexadecimal)"
      }
    }

    init(_ line: some StringProtocol) throws {
      let words = String(line).split(separator: " ").map { String($0) }
      func bytes(_ index: Int) throws -> [UInt8] {
        guard index < words.count, let bytes = [UInt8](hexadecimal: words[index]) else {
          throw Stop("A line of the journal can't be read: \(line)")
        }
        return bytes
      }
      guard words.count > 1 else { throw Stop("A line of the journal can't be read: \(line)") }
      let version = try KeyVersionID(words[1])
      switch words[0] {
      case "making": self = .making(version)
      case "made": self = .made(version, fingerprint: try bytes(2))
      case "destroying": self = .destroying(version)
      case "destroyed": self = .destroyed(version)
      default: self = .wrapped(version, WrapAlgorithm(rawValue: words[2]), try bytes(3), secret: try bytes(4))
      }
    }
  }

  private let descriptor: Int32
  private let kept = Mutex<[Entry]>([])

  /// A journal in memory, or also in a file.
  init(file: String? = nil) throws {
    guard let file else {
      descriptor = -1
      return
    }
    descriptor = unsafe open(file, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Stop("The journal '\(file)' can't be written.") }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Notes an entry; it is in the kernel's hands when this returns.
  func note(_ entry: Entry) throws {
    kept.withLock { $0.append(entry) }
    guard descriptor >= 0 else { return }
    let bytes = Array("\(entry.line)\n".utf8)
    guard unsafe write(descriptor, bytes, bytes.count) == bytes.count else { throw Stop("The journal is cut off.") }
  }

  /// What was noted.
  var entries: [Entry] { kept.withLock { $0 } }

  /// What a process that is gone noted.
  static func read(_ bytes: [UInt8]) throws -> [Entry] {
    try String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { try Entry($0) }
  }
}
