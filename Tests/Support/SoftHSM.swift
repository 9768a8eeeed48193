public import KeyCustody
import KeyCustodyPKCS11
import Synchronization

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// SoftHSM for this test process: a folder of tokens of its own, gone when the process ends.
///
/// SoftHSM reads its configuration from the file that `SOFTHSM2_CONF` names, at C_Initialize. The variable is set when
/// ``shared`` is made, so touch it before anything opens the module.
public final class SoftHSM: Sendable {
  /// The one of this process.
  public static let shared = SoftHSM()

  /// Where the tokens lie.
  public let folder: String
  /// The module's path; `nil` when SoftHSM is not installed.
  public let module: String?

  private let isKept = Mutex(false)

  private init() {
    folder = "/tmp/key-custody-softhsm-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    unsafe mkdir(folder, 0o700)
    unsafe mkdir("\(folder)/tokens", 0o700)
    let settings = """
      directories.tokendir = \(folder)/tokens
      objectstore.backend = file
      log.level = ERROR
      slots.removable = false

      """
    Self.write(Array(settings.utf8), to: "\(folder)/softhsm2.conf")
    unsafe setenv("SOFTHSM2_CONF", "\(folder)/softhsm2.conf", 1)
    module = Self.places.first { unsafe access($0, R_OK) == 0 }
    atexit { try? FileManager.default.removeItem(atPath: SoftHSM.shared.folder) }
  }

  private static let places = [
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
  ]

  /// The module's path.
  ///
  /// - Throws: `unavailable`, saying how to install it. Tests fail then; they don't skip.
  public func installedModule() throws(KeyCustodyError) -> String {
    guard let module else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "SoftHSM is not installed, and these tests run on it.",
        remedy: "apt-get install softhsm2")
    }
    return module
  }

  /// Finalising and initialising between any two tests would only cost time.
  private func keep(_ module: String) async throws(KeyCustodyError) {
    let wasKept = isKept.withLock { isKept in
      defer { isKept = true }
      return isKept
    }
    if !wasKept { try await PKCS11Provisioning.keepInitialized(module) }
  }

  /// Makes a token with a label and a PIN of its own.
  public static func makeToken() async throws(KeyCustodyError) -> SoftHSMToken {
    let module = try shared.installedModule()
    try await shared.keep(module)
    let random = SystemRandom()
    let name = try random.bytes(8).hexadecimal
    let pin = try random.bytes(8).hexadecimal
    let pinFile = "\(shared.folder)/pin-\(name)"
    write(Array(pin.utf8), to: pinFile)
    let info = try await PKCS11Provisioning.initialize(
      module: module, label: "test-\(name)", userPIN: SecretBytes(copying: Array(pin.utf8)),
      securityOfficerPIN: try random.secret(8).asText())
    return SoftHSMToken(module: module, label: info.label, serial: info.serial, uri: info.uri, pinFile: pinFile)
  }

  /// Writes a small file that only this user reads.
  public static func write(_ bytes: [UInt8], to path: String) {
    let descriptor = unsafe open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    _ = unsafe Glibc.write(descriptor, bytes, bytes.count)
  }
}

/// A token of SoftHSM with what a configuration needs to open it.
public struct SoftHSMToken: Sendable {
  /// The module's path.
  public let module: String
  /// The token's label, unlike any other's.
  public let label: String
  /// The token's serial number.
  public let serial: String
  /// The RFC 7512 URI that selects it.
  public let uri: String
  /// The file with the user PIN.
  public let pinFile: String

  /// The settings of a backend on this token, for a section of a configuration.
  public var settings: [String: ConfigurationValue] {
    [
      "plugin": "pkcs11", "module": .string(module), "token": .string(uri), "pinFile": .string(pinFile),
      // Tests share two cores with each other.
      "timeout": 60,
    ]
  }

  /// The folder that SoftHSM keeps this token in, found by its label in the token's own file.
  public var folder: String? {
    let tokens = "\(SoftHSM.shared.folder)/tokens"
    return SoftHSM.names(in: tokens).map { "\(tokens)/\($0)" }.first { folder in
      SoftHSM.contents(of: "\(folder)/token.object").contains(Array(label.utf8))
    }
  }
}

extension SoftHSM {
  /// The names in a folder, without `.` and `..`.
  public static func names(in folder: String) -> [String] {
    guard let directory = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// A file's bytes; empty when it can't be read.
  public static func contents(of path: String) -> [UInt8] {
    guard let file = unsafe fopen(path, "rb") else { return [] }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = unsafe fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer.prefix(count) }
    return bytes
  }
}

extension SecretBytes {
  /// The bytes as hexadecimal text, for PINs of tests.
  fileprivate func asText() -> SecretBytes {
    SecretBytes(copying: Array(withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }.hexadecimal.utf8))
  }
}
