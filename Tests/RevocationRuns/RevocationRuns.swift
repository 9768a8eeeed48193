#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How long a customer's key is used on after its revocation was answered, in the process that was told and in another.
///
/// Ends with 1 when a use began after the time that was promised, or another customer was cut off.
@main
enum RevocationRuns {
  static func main() async {
    do {
      let words = CommandLine.arguments.dropFirst()
      if words.count == 2, words.first == "worker", let folder = words.last { return try await Worker(folder).run() }
      guard let rounds = words.isEmpty ? 10 : words.count == 1 ? words.first.flatMap({ Int($0) }) : nil, rounds > 0
      else { throw Stop("The number of rounds is all that it takes.") }
      exit(try await run(rounds) ? 0 : 1)
    } catch {
      print("revocation: \(error)")
      exit(2)
    }
  }

  private static func run(_ rounds: Int) async throws -> Bool {
    Timeline.printHeader(rounds: rounds)
    var isMet = true
    for hearing in Deployment.Hearing.allCases {
      isMet = try await Timeline(hearing: hearing, rounds: rounds).run() && isMet
    }
    print(isMet ? "revocation: every one held when it was promised to" : "revocation: not as it was promised")
    return isMet
  }
}
