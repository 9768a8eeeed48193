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
    do throws(KeyCustodyError) {
      if try DurableFile.mark(of: path) != nil, try DurableFile.mark(of: companion) != nil {
        end()
        // The companion's last, since by that it is seen that something was begun. Where there are no second names, a
        // change that is cut off in between leaves what does not fit, as it must.
        if try DurableFile.canHold(path, as: Self.old(path)) {
          _ = try DurableFile.canHold(companion, as: Self.old(companion))
        }
      }
      try DurableFile.place([(newCompanion, companion), (new, path)])
    } catch {
      try? settle()
      throw error
    }
    end()
  }

  /// Takes back the half of a change that was cut off.
  func settle() throws(KeyCustodyError) {
    guard try DurableFile.mark(of: Self.old(companion)) != nil else { return DurableFile.discard(Self.old(path)) }
    // Where the file is still the old one, so must be what belongs to it.
    if let kept = try DurableFile.mark(of: Self.old(path)), try kept == DurableFile.mark(of: path) {
      try DurableFile.place([(Self.old(companion), companion)])
    }
    end()
  }

  private func end() {
    DurableFile.discard(Self.old(companion))
    DurableFile.discard(Self.old(path))
  }
}
