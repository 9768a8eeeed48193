#if canImport(FoundationEssentials)
  import FoundationEssentials
  import Glibc
#else
  import Foundation
#endif

/// The target that this process runs: `KEYCUSTODY_FUZZ_TARGET` names it.
private let target: FuzzTarget = {
  let name = ProcessInfo.processInfo.environment["KEYCUSTODY_FUZZ_TARGET"] ?? ""
  guard let found = FuzzTarget.all.first(where: { $0.name == name }) else {
    print("KEYCUSTODY_FUZZ_TARGET must be one of: \(FuzzTarget.all.map(\.name).joined(separator: " "))")
    exit(2)
  }
  return found
}()

/// Called once by libFuzzer before anything else.
///
/// With `KEYCUSTODY_FUZZ_SEEDS`, it writes the seeds of every target into that folder instead of fuzzing.
@c(LLVMFuzzerInitialize)
public func initialize(_ count: UnsafeMutablePointer<Int32>?, _ arguments: UnsafeMutableRawPointer?) -> Int32 {
  if let folder = ProcessInfo.processInfo.environment["KEYCUSTODY_FUZZ_SEEDS"] {
    do { try writeSeeds(to: URL(filePath: folder)) } catch {
      print("\(error)")
      exit(1)
    }
    exit(0)
  }
  _ = target
  return 0
}

/// Called by libFuzzer for every input.
@c(LLVMFuzzerTestOneInput)
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  target.run(Array(UnsafeBufferPointer(start: data, count: size)))
  return 0
}

private func writeSeeds(to folder: URL) throws {
  for target in FuzzTarget.all {
    let place = folder.appending(path: target.name)
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    for (index, seed) in target.seeds().enumerated() {
      try Data(seed).write(to: place.appending(path: "seed-\(index)"))
    }
  }
}
