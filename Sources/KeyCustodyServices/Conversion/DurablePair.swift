import KeyCustody

/// A file and the one that belongs to it, which change together: whatever ends a change, both are the old ones or both
/// the new ones for whoever looks next.
///
/// While they change, second names (with `.old` behind) keep the old ones. The caller keeps others out of the folder.
struct DurablePair {
  private let path: String
  private let companion: String

  init(_ path: String, _ companion: String) {
    self.path = path
    self.companion = companion
  }

  private static func old(_ path: String) -> String { path + ".old" }

  /// Puts two files that are on the disk in the places of these.
  func replace(by new: String, _ newCompanion: String) throws(KeyCustodyError) {
    let isReplacement = DurableFile.mark(of: path) != nil && DurableFile.mark(of: companion) != nil
    if isReplacement {
      DurableFile.discard(Self.old(path))
      try DurableFile.hold(path, as: Self.old(path))
      // Last, since by this one it is seen that something was begun.
      try DurableFile.hold(companion, as: Self.old(companion))
    }
    do throws(KeyCustodyError) { try DurableFile.place([(newCompanion, companion), (new, path)]) } catch {
      try? settle()
      throw error
    }
    if isReplacement { end() }
  }

  /// Takes back the half of a change that was cut off.
  func settle() throws(KeyCustodyError) {
    guard DurableFile.mark(of: Self.old(companion)) != nil else { return }
    // Where the file is still the old one, so must be what belongs to it.
    if let kept = DurableFile.mark(of: Self.old(path)), kept == DurableFile.mark(of: path) {
      try DurableFile.place([(Self.old(companion), companion)])
    }
    end()
  }

  private func end() {
    DurableFile.discard(Self.old(companion))
    DurableFile.discard(Self.old(path))
  }
}
