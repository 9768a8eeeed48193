import Foundation

/// SoftHSM in a folder of its own, for as long as the process runs.
///
/// SoftHSM reads its configuration from the file that SOFTHSM2_CONF names, when a module starts: make this first.
struct SoftHSM {
  let folder: String
  let module: String

  private static let modules = [
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
  ]

  init() throws {
    let files = FileManager.default
    guard let module = Self.modules.first(where: files.isReadableFile) else {
      throw Unexpected(description: "SoftHSM is not installed: apt-get install softhsm2")
    }
    self.module = module
    // In memory where there is such a place: a thousand objects take a second to make there, and ten on a disk.
    let place = files.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    folder = "\(place)/key-custody-bench-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    let ours: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
    try files.createDirectory(atPath: "\(folder)/tokens", withIntermediateDirectories: true, attributes: ours)
    try write(
      """
      directories.tokendir = \(folder)/tokens
      objectstore.backend = file
      log.level = ERROR

      """, to: "softhsm2.conf")
    setenv("SOFTHSM2_CONF", "\(folder)/softhsm2.conf", 1)
  }

  /// Writes a small file that only this user reads.
  private func write(_ text: String, to name: String) throws {
    let isWritten = FileManager.default.createFile(
      atPath: "\(folder)/\(name)", contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
    guard isWritten else { throw Unexpected(description: "'\(folder)/\(name)' can't be written.") }
  }

  /// Makes a token, and the file that holds its user PIN.
  ///
  /// Only before the module starts: it does not see the tokens that another process makes later.
  func makeToken(_ label: String) throws -> (label: String, pinFile: String) {
    let pin = String(UInt64.random(in: 10_000_000...99_999_999))
    try write(pin, to: "pin-\(label)")
    try run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", pin])
    return (label, "\(folder)/pin-\(label)")
  }

  func remove() { try? FileManager.default.removeItem(atPath: folder) }
}

/// Runs a program with its output thrown away.
///
/// Foundation's Process does not work under valgrind, which counts instructions where time is too noisy.
func run(_ words: [String]) throws {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
  var arguments = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var child = pid_t()
  var status: Int32 = -1
  guard posix_spawnp(&child, words[0], &actions, nil, &arguments, environ) == 0, waitpid(child, &status, 0) == child,
    status == 0
  else { throw Unexpected(description: "'\(words[0])' could not be run, or failed.") }
}
