#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where a secret is to be read from when it is needed.
///
/// Configurations hold references, never secrets.
public enum SecretReference: Sendable, Hashable {
  /// A file's content, without one line break at its end.
  case file(String)
  /// An environment variable.
  case environment(String)

  /// Reads `NAMEFile` or `NAMEEnvironment` of a section; `nil` when neither is given.
  ///
  /// - Throws: `invalidInput` when both are.
  public init?(
    _ name: String, in section: ConfigurationSection, environment: RuntimeEnvironment
  ) throws(KeyCustodyError) {
    let file = try section.string("\(name)File")
    let variable = try section.string("\(name)Environment")
    switch (file, variable) {
    case (let file?, nil): self = .file(environment.path(file))
    case (nil, let variable?): self = .environment(variable)
    case (nil, nil): return nil
    case (.some, .some):
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "Both '\(name)File' and '\(name)Environment' are given in '\(section.path.joined(separator: "."))'.",
        remedy: "Keep one of them.")
    }
  }

  /// Reads the secret.
  ///
  /// - Throws: `unavailable` (`unreachable`) when the file or variable is not there; `invalidInput` (`wrong-size`) when
  ///   it is empty or over 64 KiB.
  public func load(_ environment: RuntimeEnvironment) throws(KeyCustodyError) -> SecretBytes {
    switch self {
    case .environment(let name):
      guard let value = environment.variables[name], !value.isEmpty else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The environment variable '\(name)' that should hold a secret is not set.",
          remedy: "Set it for the process that runs the service.")
      }
      return SecretBytes(copying: Array(value.utf8))
    case .file(let path):
      var status = stat()
      // Others than the owner and its group have no business with it; nobody but the owner writes it.
      guard unsafe stat(path, &status) != 0 || status.st_mode & 0o027 == 0 else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The secret file '\(path)' can be read or written by others.",
          remedy: "Its owner can change that: chmod 600 '\(path)'.")
      }
      return try Self.read(path)
    }
  }

  /// Reads a whole small file into memory that is cleared after use.
  public static func read(_ path: String) throws(KeyCustodyError) -> SecretBytes {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "The secret file '\(path)' can't be read (errno \(errno)).",
        remedy: "Create it, readable by the service's user alone: install -m 600 SECRET '\(path)'.")
    }
    defer { close(descriptor) }
    let limit = 64 << 10
    var count = 0
    let whole = SecretBytes(count: limit + 1) { buffer in
      unsafe buffer.withUnsafeMutableBytes { bytes in
        while count <= limit, let base = bytes.baseAddress {
          let got = unsafe Glibc.read(descriptor, base + count, limit + 1 - count)
          if got < 0 && errno == EINTR { continue }
          guard got > 0 else { break }
          count += got
        }
      }
    }
    let length = whole.withBytes { bytes in
      guard count > 0, count <= limit else { return count }
      return unsafe bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) == 0x0a ? count - 1 : count
    }
    guard length > 0, length <= limit else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The secret file '\(path)' is \(length == 0 ? "empty" : "over 64 KiB").")
    }
    return whole.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<length)) }
  }
}
