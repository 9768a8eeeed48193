import KeyCustody

/// The keys and their file, on a thread of their own: writing the file blocks, and must not block Swift's threads.
actor AcmeKeys {
  private let thread: DedicatedThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
  private var file: KeyFile?
  private var keys: [KeyVersionID: (AcmeKey, KeyDescription)] = [:]
  /// After a change that the disk did not confirm, the file is read again before anything is said of it.
  private var isUncertain = false

  init() throws(KeyCustodyError) { thread = try DedicatedThread() }

  /// Opens the file and gives its number.
  func open(
    _ path: String, _ secret: SecretReference, _ environment: RuntimeEnvironment, _ disk: any Disk
  ) throws(KeyCustodyError) -> String {
    let opened = try KeyFile(
      path: path, secret: try secret.load(environment), random: environment.random, disk: disk)
    keys = try opened.load()
    let uuid = opened.uuid
    // Written at once, so that the number stays the same when no key is ever made.
    if keys.isEmpty { try opened.save(keys) }
    file = opened
    return uuid
  }

  func add(_ key: AcmeKey, _ description: KeyDescription) throws(KeyCustodyError) -> KeyDescription {
    try requireOpen()
    guard keys[description.version] == nil else {
      throw KeyCustodyError(
        .invalidInput, .alreadyExists, "There is a key version \(description.version) already.",
        remedy: "Choose another name.")
    }
    var changed = keys
    changed[description.version] = (key, description)
    try save(changed)
    return description
  }

  func find(_ version: KeyVersionID) throws(KeyCustodyError) -> (AcmeKey, KeyDescription) {
    try requireOpen()
    if let found = keys[version] { return found }
    throw KeyCustodyError(
      .notFound, .keyVersionUnknown, "There is no key version \(version) here.",
      remedy: "Check that this is the backend it was made in.")
  }

  func remove(_ version: KeyVersionID) throws(KeyCustodyError) {
    _ = try find(version)
    var changed = keys
    changed[version] = nil
    try save(changed)
  }

  func versions(after version: KeyVersionID?, limit: Int) throws(KeyCustodyError) -> [KeyVersionID] {
    try requireOpen()
    return Array(keys.keys.filter { name in version.map { $0 < name } ?? true }.sorted().prefix(max(0, limit)))
  }

  private func save(_ changed: [KeyVersionID: (AcmeKey, KeyDescription)]) throws(KeyCustodyError) {
    do throws(KeyCustodyError) { try file?.save(changed) } catch {
      isUncertain = error.code == .timeout
      throw error
    }
    keys = changed
  }

  func close() {
    keys = [:]
    file = nil
  }

  func requireOpen() throws(KeyCustodyError) {
    guard let file else { throw KeyCustodyError(.unavailable, .closed, "This key provider was closed.") }
    guard isUncertain else { return }
    keys = try file.load()
    isUncertain = false
  }
}
