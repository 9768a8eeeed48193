#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension SystemTime {
  /// The kernel's name for this start of the machine: `CLOCK_BOOTTIME` counts from it, and nobody can set that clock.
  public var runningOrigin: String? { BootID.current }
}

private enum BootID {
  /// Read once: it stays the same until the machine is started anew.
  static let current: String? = {
    guard let bytes = FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id") else { return nil }
    let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    return text.isEmpty ? nil : text
  }()
}
