#if CommandLine
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif
  import KeyCustody

  /// A folder that holds a whole deployment: its configuration, keys, records, audit log and certificate.
  struct DataFolder: Sendable {
    /// The folder.
    let path: String

    init(_ path: String) {
      var path = path
      while path.count > 1, path.hasSuffix("/") { path.removeLast() }
      self.path = Running.absolute(path)
    }

    var configurationFile: String { "\(path)/keycustody.json" }
    /// There once the first start has made all it makes.
    var firstStartFile: String { "\(path)/first-start" }
    var bootstrapFile: String { "\(path)/bootstrap.json" }
    var identityHeaderFile: String { "\(path)/identity-header" }
    var storeKeyFile: String { "\(path)/store.key" }
    var socket: String { "\(path)/control.sock" }

    /// Whether a deployment was begun here.
    var exists: Bool { unsafe access(configurationFile, F_OK) == 0 }

    /// Makes what is missing: the folder, the key of the key store, the header of the machine's identity, and a
    /// configuration for that domain and port.
    ///
    /// What is there stays as it is, but for the domain and the port where they are asked for.
    func prepare(domain: String?, port: Int?) throws(KeyCustodyError) {
      if let domain { try Self.check(domain) }
      if unsafe mkdir(path, 0o700) != 0, errno != EEXIST {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The folder '\(path)' can't be made.",
          remedy: "Make the folder above it, or name another by --data.", diagnostic: "mkdir: errno \(errno)")
      }
      var status = stat()
      guard unsafe stat(path, &status) == 0, status.st_mode & 0o077 == 0, status.st_uid == geteuid() else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The folder '\(path)' is not this user's alone.",
          remedy: "chmod 700 it, or name another by --data: it holds keys.")
      }
      try lock()
      if unsafe access(storeKeyFile, F_OK) != 0 {
        try WholeFile.write(try SystemRandom().bytes(32), to: storeKeyFile)
      }
      if unsafe access(identityHeaderFile, F_OK) != 0 {
        try WholeFile.write(Array(try SystemRandom().bytes(24).base64URL.utf8), to: identityHeaderFile)
      }
      if exists { try adjust(domain: domain, port: port) } else { try create(domain: domain, port: port) }
    }

    /// Keeps every other server away from the folder as long as this process lives.
    private func lock() throws(KeyCustodyError) {
      let descriptor = unsafe open("\(path)/serve.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        if descriptor >= 0 { close(descriptor) }
        throw KeyCustodyError(
          .busy, .locked, "The folder '\(path)' is open already, in another server.",
          remedy: "Stop it first, or name another folder by --data.")
      }
      // Not closed: the lock goes with the process.
    }

    /// A domain has two labels at least, since no client takes a certificate for `*.LABEL`.
    private static func check(_ domain: String) throws(KeyCustodyError) {
      let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
      let fits =
        labels.count >= 2 && domain.utf8.count <= 180
        && labels.allSatisfy { label in
          (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
            && label.utf8.allSatisfy { $0.isASCIIAlphanumeric || $0 == UInt8(ascii: "-") }
        }
      guard fits else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "That is not a domain for vaults.",
          remedy: "Write at least two labels of letters, digits and dashes, like vault.example; the port by --port.")
      }
    }

    private func create(domain: String?, port: Int?) throws(KeyCustodyError) {
      let port = try port.map(Self.settled) ?? 8443
      let identityPort = try FreePort.findFixed()
      let origin = "key-custody-\(try SystemRandom().bytes(8).hexadecimal)/audit"
      let json: JSON = [
        "keyProviders": ["software": ["plugin": "file", "directory": "keys", "keyFile": "store.key"]],
        "policyStores": ["state": ["plugin": "sqlite", "path": "state.sqlite"]],
        "service": ["keyProvider": "software", "policyStore": "state"],
        "vaults": ["domain": .string(Self.authority(domain ?? "vault.localhost", port))],
        // Not after the domain, which may change.
        "audit": ["folder": "audit", "origin": .string(origin)],
        "server": [
          "tenant": "main", "certificateFolder": "tls", "identity": "machine",
          "identityHeaderFile": "identity-header", "identityPort": .integer(Int64(identityPort)),
        ],
      ]
      try WholeFile.write(json.bytes + [0x0a], to: configurationFile)
    }

    private func adjust(domain: String?, port: Int?) throws(KeyCustodyError) {
      guard domain != nil || port != nil else { return }
      var json = try JSON(try WholeFile.read(configurationFile))
      guard var root = json.object, var vaults = root["vaults"]?.object, let now = vaults["domain"]?.string else {
        return
      }
      let halves = now.split(separator: ":", maxSplits: 1).map(String.init)
      let wantedPort = try port.map(Self.settled) ?? (halves.count == 2 ? Int(halves[1]) ?? 443 : 443)
      let wanted = Self.authority(domain ?? halves[0], wantedPort)
      guard wanted != now else { return }
      vaults["domain"] = .string(wanted)
      root["vaults"] = .object(vaults)
      json = .object(root)
      try WholeFile.write(json.bytes + [0x0a], to: configurationFile)
    }

    /// Port 0 asks for a free one; addresses need its number before anybody listens.
    private static func settled(_ port: Int) throws(KeyCustodyError) -> Int { port == 0 ? try FreePort.find() : port }

    private static func authority(_ domain: String, _ port: Int) -> String {
      port == 443 ? domain.lowercased() : "\(domain.lowercased()):\(port)"
    }
  }

  /// Finds ports that nobody listens on.
  enum FreePort {
    /// One that the system gives to nobody by itself, so that it is free again after a restart.
    static func findFixed() throws(KeyCustodyError) -> Int {
      for _ in 0..<64 {
        let port = Int.random(in: 18_000..<32_000)
        if isFree(port) { return port }
      }
      return try find()
    }

    private static func isFree(_ port: Int) -> Bool { bound(port) != nil }

    static func find() throws(KeyCustodyError) -> Int {
      if let port = bound(0) { return port }
      throw KeyCustodyError(.unavailable, .unreachable, "No free port was found.", remedy: "Name one by --port.")
    }

    /// The port that a socket was bound to, 0 asking for any.
    private static func bound(_ port: Int) -> Int? {
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      guard descriptor >= 0 else { return nil }
      defer { close(descriptor) }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let found = unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
          unsafe bind(descriptor, pointer, length) == 0 && getsockname(descriptor, pointer, &length) == 0
        }
      }
      return found ? Int(UInt16(bigEndian: address.sin_port)) : nil
    }
  }

  /// Small files, read and written whole.
  enum WholeFile {
    /// Reads a file of at most 1 MiB.
    static func read(_ path: String) throws(KeyCustodyError) -> [UInt8] {
      guard let data = FileManager.default.contents(atPath: path), data.count <= 1 << 20 else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The file '\(path)' can't be read.", remedy: "Check its name and permissions.")
      }
      return Array(data)
    }

    /// Writes a file for this user alone: the old content or the new, whatever happens meanwhile.
    static func write(_ bytes: [UInt8], to path: String) throws(KeyCustodyError) {
      let (system, temporary) = (POSIXFileSystem(), "\(path).\(getpid()).part")
      do throws(SystemError) {
        // Left by a process of the same number that was killed.
        try? system.remove(temporary)
        try system.writeNew(temporary, bytes)
        try system.rename(temporary, to: path)
        try system.synchronizeFolder(of: path)
      } catch {
        try? system.remove(temporary)
        throw KeyCustodyError(
          .unavailable, .unreachable, "The file '\(path)' can't be written.",
          remedy: "Look at the disk and the folder's permissions.", diagnostic: "\(error.call) errno \(error.code)")
      }
    }
  }
#endif
