/// The few calls of the operating system that a store makes, so that a test can let any of them fail.
///
/// Every method may block. Paths are absolute or relative to the process's folder.
package protocol FileSystem: Sendable {
  /// What stands at a path; `nil` when nothing does. A symbolic link is followed only where asked.
  func status(_ path: String, followingLink: Bool) throws(SystemError) -> FileStatus?
  /// Makes a folder that its owner alone can enter.
  func makeFolder(_ path: String) throws(SystemError)
  /// The names in a folder, in no order.
  func names(in folder: String) throws(SystemError) -> [String]
  /// Opens a file.
  func open(_ path: String, _ mode: OpenMode) throws(SystemError) -> Int32
  /// The length of an open file.
  func length(_ file: Int32) throws(SystemError) -> Int
  /// Reads on into the buffer, from `offset` of the buffer; answers how many bytes there were, 0 at the end.
  func read(_ file: Int32, into buffer: inout MutableRawSpan, at offset: Int) throws(SystemError) -> Int
  /// Writes some of the bytes; answers how many.
  func write(_ file: Int32, _ bytes: RawSpan) throws(SystemError) -> Int
  /// Brings a file, or the names in a folder, to the disk.
  func synchronize(_ file: Int32) throws(SystemError)
  /// Closes a file.
  func close(_ file: Int32)
  /// Gives a file a second name, where that name is free.
  func link(_ path: String, as name: String) throws(SystemError)
  /// Gives a file another name, in place of whatever had it.
  func rename(_ path: String, to name: String) throws(SystemError)
  /// Removes a file's name.
  func remove(_ path: String) throws(SystemError)
  /// Locks an open file; `false` when another opening has a lock that forbids this one.
  func lock(_ file: Int32, _ kind: LockKind) throws(SystemError) -> Bool
}

/// How a file is opened.
package enum OpenMode: Sendable {
  /// To read it.
  case reading
  /// To write it; it must not exist yet.
  case creating
  /// A folder, to synchronize it.
  case folder
  /// To lock it; it is made where it does not exist.
  case locking
}

/// How a file is locked.
package enum LockKind: Sendable {
  /// By nobody else; does not wait.
  case exclusive
  /// By any number of sharers; waits.
  case shared
}

/// A refusal of the operating system.
package struct SystemError: Error, Hashable, Sendable {
  /// Its number.
  package var code: Int32
  /// The call that failed.
  package var call: String

  /// A refusal.
  package init(code: Int32, call: String) {
    self.code = code
    self.call = call
  }
}
