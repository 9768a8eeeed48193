#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process that holds the lock (flock) on a file.
package struct LockHolder {
  /// Its number.
  package let id: Int
  /// What it calls itself, with nothing in it that steers a terminal.
  package let name: String

  /// Whether it is this one.
  package var isThisProcess: Bool { id == Int(getpid()) }

  /// As the kernel tells it; `nil` where it does not, or where nobody holds it any more.
  package init?(of path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    let device = UInt64(status.st_dev)
    let major = (device >> 8) & 0xfff | (device >> 32) & ~0xfff
    let minor = device & 0xff | (device >> 12) & ~0xff
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF`, the device's numbers in hexadecimal.
    for line in Self.systemText("/proc/locks").split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count > 5, words[1] == "FLOCK", let id = Int(words[4]), id > 0 else { continue }
      let place = words[5].split(separator: ":")
      guard place.count == 3, UInt64(place[0], radix: 16) == major, UInt64(place[1], radix: 16) == minor,
        UInt64(place[2]) == UInt64(status.st_ino)
      else { continue }
      // Whoever took the lock may have ended and left it to a child: then its number says nothing.
      let name = Self.systemText("/proc/\(id)/comm").prefix { $0 != "\n" }
      guard !name.isEmpty else { return nil }
      self.id = id
      // Processes name themselves as they like: nothing in a message may steer a terminal.
      self.name = String(name.unicodeScalars.map { (0x20..<0x7f).contains($0.value) ? Character($0) : "?" })
      return
    }
    return nil
  }

  /// What the kernel says in one of its files, which have no size; at most 256 KiB, nothing where it can't be read.
  private static func systemText(_ path: String) -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 4096)
    while text.count < 256 << 10 {
      let got = unsafe read(descriptor, &block, block.count)
      guard got > 0 else { break }
      text += block[..<got]
    }
    return String(decoding: text, as: UTF8.self)
  }
}
