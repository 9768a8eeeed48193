import CBaseline
import Foundation
import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices

/// A folder of this run, on memory where there is such a file system: a disk would be measured otherwise.
private struct Folder: ~Copyable {
  let path: String

  init() throws {
    let base = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    path = "\(base)/key-custody-bench-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  /// A file of so many MiB.
  func make(_ name: String, mebibytes: Int) throws -> String {
    let piece = Data(repeating: 0xa5, count: 1 << 20)
    _ = FileManager.default.createFile(atPath: file(name), contents: nil)
    guard let handle = FileHandle(forWritingAtPath: file(name)) else {
      throw Unexpected(description: "\(file(name)) can't be written.")
    }
    for _ in 0..<mebibytes { try handle.write(contentsOf: piece) }
    try handle.close()
    return file(name)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The most memory that this process ever had, in MiB.
private func peak() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
  return (line?.split(separator: " ").compactMap { Int($0) }.first ?? 0) >> 10
}

/// Two layers from file to file, with all cores, against the C loop with as many threads and with one.
func files(_ resource: ProtectedResource) async throws {
  let mebibytes = Options.current.isQuick ? 64 : 1024
  let folder = try Folder()
  let plain = try folder.make("plain", mebibytes: mebibytes)
  let (sealed, opened, other) = (folder.file("sealed"), folder.file("opened"), folder.file("other"))
  let before = peak()
  try await resource.sealFile(plain, to: sealed, as: "object")
  try await resource.openFile(sealed, to: opened, as: "object")
  print("R6 files: \(mebibytes) MiB sealed and opened took \(peak() - before) MiB more memory than the process had")
  guard FileManager.default.contentsEqual(atPath: plain, andPath: opened) else {
    throw Unexpected(description: "What was sealed did not open.")
  }
  let threads = Int32(max(ProcessInfo.processInfo.activeProcessorCount, 1))
  let perMebibyte = Double(mebibytes)
  // Without the old target, as the baseline truncates its: else fresh memory is measured, which a virtual machine gets
  // slowly from its host.
  let seal = {
    try await time(mebibytes) {
      try FileManager.default.removeItem(atPath: sealed)
      try await resource.sealFile(plain, to: sealed, as: "object")
    }
  }
  let open = {
    try await time(mebibytes) {
      try? FileManager.default.removeItem(atPath: opened)
      try await resource.openFile(sealed, to: opened, as: "object")
    }
  }
  let baseline = { (encrypt: Int32, threads: Int32) -> Double in
    if encrypt == 0 { _ = baseline_file(plain, other, 2, 1, threads) }
    return Double(baseline_file(encrypt == 1 ? plain : other, encrypt == 1 ? other : opened, 2, encrypt, threads))
      / perMebibyte
  }
  try await row(
    "R6", "seal-file-\(threads)-cores", "c", goal: .speed(atLeast: 0.9), unit: "us/MiB", ours: seal,
    baseline: { baseline(1, threads) })
  try await row(
    "R6", "open-file-\(threads)-cores", "c", goal: .speed(atLeast: 0.9), unit: "us/MiB", ours: open,
    baseline: { baseline(0, threads) })
  // What more cores bring, against C on one.
  let most = Goal.speed(atLeast: threads > 1 ? 1.6 : 0.9)
  try await row(
    "R6", "seal-file-against-1-core", "c", goal: most, unit: "us/MiB", ours: seal, baseline: { baseline(1, 1) })
  try await row(
    "R6", "open-file-against-1-core", "c", goal: most, unit: "us/MiB", ours: open, baseline: { baseline(0, 1) })
}

/// 4 KiB at random aligned places of an object that is open.
func randomReads(_ resource: ProtectedResource) async throws {
  let mebibytes = Options.current.isQuick ? 64 : 1024
  let count = Options.current.isQuick ? 1_000 : 20_000
  // Not on /dev/shm: there the system can't say what it has in memory, and each read goes to another thread.
  let path = "\(NSTemporaryDirectory())/key-custody-bench-\(UInt32.random(in: 0 ... .max))"
  let folder = try Folder()
  let plain = try folder.make("plain", mebibytes: mebibytes)
  defer { for suffix in ["-1", "-2"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
  let context = try SealingContext(
    resource: try ResourceID("bench"), dataClass: try DataClass("long-term"), object: "object")
  let key = try rootKey(1)
  try sealOneLayer(plain, to: path + "-1", key, context)
  try await resource.sealFile(plain, to: path + "-2", as: "object")
  let one = try await ObjectLayerReader(
    over: FileBytes(path: path + "-1"), key: key, layer: .service, context: context)
  let two = try await resource.reader(over: FileBytes(path: path + "-2"), as: "object")
  for (name, reader, layers) in [("one-layer", one as any RandomAccessBytes, 1), ("two-layers", two, 2)] {
    try await row(
      "R7", "read-4KiB-\(name)", "c", goal: .time(atMost: 1.3),
      ours: {
        var generator = SystemRandomNumberGenerator()
        return try await time(count) {
          for _ in 0..<count {
            let page = Int64.random(in: 0..<(Int64(mebibytes) << 8), using: &generator)
            guard try await reader.read(at: page << 12, count: 4096).count == 4096 else {
              throw Unexpected(description: "A read came back short.")
            }
          }
        }
      }, baseline: { Double(baseline_random_read("\(path)-\(layers)", Int32(layers), Int32(count))) / Double(count) })
  }
}

private func sealOneLayer(_ plain: String, to path: String, _ key: RootKey, _ context: SealingContext) throws {
  guard let input = FileHandle(forReadingAtPath: plain) else {
    throw Unexpected(description: "\(plain) can't be read.")
  }
  _ = FileManager.default.createFile(atPath: path, contents: nil)
  guard let output = FileHandle(forWritingAtPath: path) else {
    throw Unexpected(description: "\(path) can't be written.")
  }
  var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
  while let piece = try input.read(upToCount: 1 << 20), !piece.isEmpty {
    var sealed: [UInt8] = []
    let bytes = [UInt8](piece)
    try sealer.update(bytes.span.bytes, into: &sealed)
    try output.write(contentsOf: sealed)
  }
  var last: [UInt8] = []
  try sealer.finish(into: &last)
  try output.write(contentsOf: last)
  try output.close()
}

/// The outer layer opened and sealed again, the inner one closed: what a conversion does.
func renewals() async throws {
  let mebibytes = Options.current.isQuick ? 64 : 512
  let folder = try Folder()
  let plain = try folder.make("plain", mebibytes: mebibytes)
  let sealed = folder.file("sealed")
  let keys = LayeredKeys(service: try rootKey(1), customer: try rootKey(2))
  let source = FixedKeys(keys: [keys.service, keys.customer])
  let context = try SealingContext(
    resource: try ResourceID("bench"), dataClass: try DataClass("long-term"), object: "object")
  try await TwoLayers.sealFile(from: plain, to: sealed, keys: keys, context: context, random: SystemRandom())
  let threads = max(ProcessInfo.processInfo.activeProcessorCount, 1)
  let (other, renewed) = (folder.file("other"), folder.file("renewed"))
  _ = baseline_file(plain, other, 1, 1, Int32(threads))
  try FileManager.default.removeItem(atPath: plain)
  try await row(
    "R8", "renew-outer-layer-\(threads)-cores", "c", goal: .speed(atLeast: 0.9), unit: "us/MiB",
    ours: {
      try await time(mebibytes) {
        try await TwoLayers.renewOuterLayer(
          ofFile: sealed, from: source, to: keys.customer, context: context, random: SystemRandom())
      }
    }, baseline: { Double(baseline_file(other, renewed, 1, 2, Int32(threads))) / Double(mebibytes) })
}

/// Keys that are always at hand.
private struct FixedKeys: RootKeySource {
  let keys: [RootKey]
  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    guard let key = keys.first(where: { $0.id == id }) else {
      throw KeyCustodyError(.integrityFailure, .unknownRootKey, "No such key.")
    }
    return key
  }
}

/// A look-up of a key whose lease lives.
func leases(_ resource: ProtectedResource) async throws {
  let count = Options.current.isQuick ? 20_000 : 1_000_000
  let id = try SealedHeader(parsing: try await resource.seal([1], as: "record")).rootKey
  let source = resource.rootKeys
  try await row(
    "R10", "lease-look-up", "c", goal: .time(atMost: 3), unit: "ns", scale: 1,
    ours: { try await time(count) { for _ in 0..<count { _ = try await source.rootKey(id, layer: .customer) } } },
    baseline: { Double(baseline_lookup(100_000, Int32(count))) / Double(count) })
}
