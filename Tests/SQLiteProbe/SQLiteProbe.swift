import KeyCustody
import KeyCustodySQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process that is killed: eight tasks write, change and delete records as fast as they can, and print each change
/// once it is acknowledged.
///
/// `KeyCustodySQLiteProbe PATH RUN`: prints `put KEY REVISION` and `gone KEY REVISION`. With `hold` as RUN it opens the
/// store, prints `open`, and waits for the end of its input.
///
/// `KeyCustodySQLiteProbe PATH RUN sealed`: the same with a table of sealed records; prints `1 NAME` and `2 NAME` for a row
/// that was written and written again, and `3 NAME` for one that was removed.
@main
enum SQLiteProbe {
  static func main() async throws {
    let words = CommandLine.arguments
    if words.count == 4, words[3] == "sealed" { return try await writeRows(words[1], run: words[2]) }
    guard words.count == 3 else { return print("usage: KeyCustodySQLiteProbe PATH RUN") }
    let store = try await SQLitePolicyStore(path: words[1])
    if words[2] == "hold" {
      acknowledge("open")
      while readLine() != nil {}
      return await store.close()
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for number in 0... {
            let key = try RecordKey("run\(words[2])/task\(task)/\(number)")
            let value = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number * 37 % 3000)
            let made = try await change("put", key) { try await store.compareAndSet(key, expecting: nil, value: value) }
            guard number % 3 != 0 else { continue }
            let changed = try await change("put", key) {
              try await store.compareAndSet(key, expecting: made, value: value + [1])
            }
            guard number % 3 == 2 else { continue }
            _ = try await change("gone", key) { try await store.delete(key, expecting: changed) }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private static func writeRows(_ path: String, run: String) async throws {
    let table = try await SQLiteSealedTable(path: path)
    let resource = try ResourceID("notes")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for number in 0... {
            let name = "run\(run)/task\(task)/\(number)"
            for step in UInt8(1)...2 where step == 1 || number % 3 != 0 {
              let sealed = [UInt8](repeating: step, count: 20 + number * 37 % 9000)
              try await table.put(sealed, label: [step], as: name, of: resource)
              acknowledge("\(step) \(name)")
            }
            guard number % 3 == 2 else { continue }
            try await table.remove(name, of: resource)
            acknowledge("3 \(name)")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private static func change(
    _ doing: String, _ key: RecordKey, _ work: () async throws -> StoreOutcome
  ) async throws -> StoreRevision {
    guard case .stored(let revision) = try await work() else {
      throw KeyCustodyError(.fault, .conflict, "'\(key)' was there already.")
    }
    acknowledge("\(doing) \(key) \(revision)")
    return revision
  }

  /// A whole line at once, and not kept back in this process.
  private static func acknowledge(_ name: String) {
    let line = Array("\(name)\n".utf8)
    _ = unsafe write(1, line, line.count)
  }
}
