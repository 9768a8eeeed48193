import KeyCustody
import KeyCustodyCrypto

/// Makes and unlocks the master key of a key store.
struct MasterKeySecret: Sendable {
  /// The fewest rounds of PBKDF2 that are used or accepted (OWASP Password Storage Cheat Sheet, for SHA-512).
  static let iterations = 210_000
  /// More than this is refused: a changed file must not keep a start-up busy for hours.
  static let mostIterations = 10_000_000

  let source: FileKeyProvider.Secret
  let environment: RuntimeEnvironment
  /// The store's folder.
  let directory: String

  /// A new store's file, with a new master key.
  func makeStore(system: any FileSystem) throws(KeyCustodyError) -> StoreFile {
    let random = environment.random
    let salt = try random.bytes(32)
    let rounds = derivation == .passphrase ? Self.iterations : 1
    let base = try derive(salt: salt, iterations: rounds, system: system)
    let master = try random.secret(32)
    let wrapped = try Self.subkey("wrap", of: base).withBytes { (key) throws(KeyCustodyError) in
      try AES256KeyWrap.wrap(master, key: key)
    }
    let lock = MasterKeyLock(
      derivation: derivation, iterations: rounds, salt: salt.base64URL, masterKey: wrapped.base64URL, check: "")
    var store = StoreFile(kind: .keys, uuid: try random.bytes(16).hexadecimal, lock: lock)
    let check = try Self.check(store, base)
    store.lock?.check = check
    return store
  }

  /// The master key of a store.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`); `integrityFailure` (`damaged`); `invalidInput` for a secret of
  ///   the other kind.
  func unlock(_ store: StoreFile, at path: String, system: any FileSystem) throws(KeyCustodyError) -> SecretBytes {
    guard let lock = store.lock, let salt = [UInt8](base64URL: lock.salt), !salt.isEmpty,
      let wrapped = [UInt8](base64URL: lock.masterKey)
    else { throw .damagedFile(path, "it lacks what unlocks the keys") }
    guard lock.derivation == derivation else {
      let (made, given) =
        lock.derivation == .passphrase ? ("a passphrase", "a key file") : ("a key file", "a passphrase")
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "The key store '\(path)' was made with \(made), not with \(given).",
        remedy: "Give '\(lock.derivation == .passphrase ? "passphraseFile" : "keyFile")' in the configuration.")
    }
    let rounds = lock.derivation == .passphrase ? Self.iterations...Self.mostIterations : 1...1
    guard rounds.contains(lock.iterations) else {
      throw .damagedFile(path, "\(lock.iterations) rounds of \(lock.derivation.rawValue) are not accepted")
    }
    var base = try derive(salt: salt, iterations: lock.iterations, system: system)
    var isRight = constantTimeEqual(Array(try Self.check(store, base).utf8), Array(lock.check.utf8))
    if !isRight, case .keyFile = source {
      // A disk that gave wrong bytes once must not send anybody to look for another key file.
      base = try derive(salt: salt, iterations: lock.iterations, system: system)
      isRight = constantTimeEqual(Array(try Self.check(store, base).utf8), Array(lock.check.utf8))
    }
    guard isRight else {
      throw KeyCustodyError(
        .credentialRejected, .wrongSecret,
        "The \(derivation == .passphrase ? "passphrase" : "key file") does not unlock the key store '\(path)'.",
        remedy: "Give the one that the store was made with; there is no other way to its keys.")
    }
    do {
      return try Self.subkey("wrap", of: base).withBytes { (key) throws(KeyCustodyError) in
        try AES256KeyWrap.unwrap(wrapped, key: key)
      }
    } catch { throw .damagedFile(path, "its master key does not unwrap") }
  }

  private var derivation: MasterKeyLock.Derivation {
    switch source {
    case .passphrase: .passphrase
    case .keyFile: .keyFile
    }
  }

  private func derive(
    salt: [UInt8], iterations: Int, system: any FileSystem
  ) throws(KeyCustodyError) -> SecretBytes {
    switch source {
    case .passphrase(let reference):
      return try Hashing.pbkdf2(passphrase: try reference.load(environment), salt: salt, iterations: iterations)
    case .keyFile(let path):
      return try readKeyFile(path, system).withBytes { (key) throws(KeyCustodyError) in
        try Hashing.hmac(.sha512, key: key, [salt])
      }
    }
  }

  private static func subkey(_ label: String, of base: borrowing SecretBytes) throws(KeyCustodyError) -> SecretBytes {
    try base.withBytes { (base) throws(KeyCustodyError) in
      try Hashing.expand(.sha512, key: base, info: Array("key-custody/v1/store/\(label)".utf8), count: 32)
    }
  }

  private static func check(_ store: StoreFile, _ base: borrowing SecretBytes) throws(KeyCustodyError) -> String {
    let content = try store.authenticatedContent()
    let code = try subkey("check", of: base).withBytes { (key) throws(KeyCustodyError) in
      try Hashing.hmac(.sha256, key: key, [content])
    }
    return code.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }.base64URL
  }

  /// Reads a key file byte for byte: unlike a passphrase it may end in a line break that belongs to it.
  private func readKeyFile(_ path: String, _ system: any FileSystem) throws(KeyCustodyError) -> SecretBytes {
    do {
      guard let status = try system.status(path, followingLink: true) else {
        // The store's folder is open: where not even that is seen, the disk is gone, and perhaps comes back.
        guard try system.status(directory, followingLink: true) != nil else { throw SystemError(code: 2, call: "stat") }
        throw KeyCustodyError(
          .notFound, .keyFileMissing, "The key file '\(path)' is not there.",
          remedy: "For a store that is still to be made, make it: (umask 077; head -c 32 /dev/urandom > '\(path)'). A "
            + "store that exists opens with its own key file alone: restore that, or mount its file system.")
      }
      guard status.permissions & 0o027 == 0 else {
        throw KeyCustodyError(
          .denied, .unsafePermissions, "Other users may read or change the key file '\(path)'.",
          remedy: "Take that from them: chmod go= '\(path)'.")
      }
      let file = try system.open(path, .reading)
      defer { system.close(file) }
      let length = try system.length(file)
      guard (32...(64 << 10)).contains(length) else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "The key file '\(path)' has \(length) bytes; it must have 32 to 65536.",
          remedy: "Make one: (umask 077; head -c 32 /dev/urandom > '\(path)').")
      }
      return try SecretBytes(count: length) { (buffer: inout MutableRawSpan) throws(SystemError) in
        var done = 0
        while done < length {
          let count = try system.read(file, into: &buffer, at: done)
          guard count > 0 else { throw SystemError(code: 5, call: "read") }
          done += count
        }
      }
    } catch let error as SystemError {
      throw KeyCustodyError(error, path)
    } catch let error as KeyCustodyError {
      throw error
    } catch {
      throw KeyCustodyError(.fault, .internalFault, "'\(path)' can't be read.", diagnostic: "\(error)")
    }
  }
}
