import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyEnvelope

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

struct OpenFileTests {
  @Test("A refused file is closed once: a second time would close what another thread has just opened")
  func closedOnce() async throws {
    let folder = try TemporaryFolder()
    try #require(unsafe mkfifo(folder.appending("pipe"), 0o600) == 0)
    let other = Task.detached {
      var lost = 0
      while !Task.isCancelled {
        let descriptor = unsafe open(folder.path, O_RDONLY | O_CLOEXEC)
        sched_yield()
        if close(descriptor) != 0 { lost += 1 }
      }
      return lost
    }
    for _ in 0..<5000 {
      #expect(throws: KeyCustodyError.self) { _ = try OpenFile(reading: folder.appending("pipe")) }
    }
    other.cancel()
    #expect(await other.value == 0)
  }

  @Test("E6: what changes while the new file is brought to the disk is not overwritten")
  func changedAtTheLastMoment() throws {
    let folder = try TemporaryFolder()
    try folder.write([1], to: "file")
    let source = try OpenFile(reading: folder.appending("file"))
    let replacement = try ReplacementFile(for: folder.appending("file"), .kept)
    try replacement.file.write([2], at: 0)
    try folder.write([3, 3], to: "file")
    let error = #expect(throws: KeyCustodyError.self) {
      try replacement.commit { () throws(KeyCustodyError) in try source.requireUnchanged() }
    }
    #expect(error?.reason == .sourceChanged)
    replacement.discard()
    #expect(try folder.read("file") == [3, 3])
  }
}
