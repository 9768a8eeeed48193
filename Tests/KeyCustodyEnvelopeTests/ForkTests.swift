import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite struct ForkTests {
  @Test("A copy of the process that fork makes does not count on from the same nonce")
  func fork() throws {
    typealias Fork = @convention(c) () -> pid_t
    // Swift hides `fork`, since a child of many threads may do little; this one reads a number and ends.
    let symbol = try unsafe #require(dlsym(nil, "fork"))
    let fork = unsafe unsafeBitCast(symbol, to: Fork.self)
    let before = ForkCounter.current
    let child = fork()
    if child == 0 { _exit(ForkCounter.current == before ? 1 : 0) }
    try #require(child > 0)
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
    #expect(status == 0)
    #expect(ForkCounter.current == before)
  }
}
