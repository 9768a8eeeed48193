public import KeyCustody
import Synchronization

/// Backends whose content lives as long as this value: for development, tests, and services that may forget.
///
/// The host makes one and passes its ``plugin``. Sections that give the same `name` (default `default`) mean the same
/// keys, records and sealed rows, for as long as this value or anything opened through it lives: opening anew with the
/// same value is a restart of the process without its end. Two values share nothing.
public struct MemoryPlugin: Sendable {
  private let contents = Contents()

  /// A fresh, empty memory.
  public init() {}

  /// The plugin `memory`.
  ///
  /// Its sections have the key `name`, and those of policy stores `shared`: whether several openings use the records at
  /// a time, as processes do that share a database (default `false`).
  public var plugin: Plugin {
    Plugin(
      name: MemoryKeys.kind,
      keyProvider: { [contents] (section, environment) throws(KeyCustodyError) in
        let name = try section.string("name") ?? "default"
        return { () throws(KeyCustodyError) in
          let keys = try contents.keys(name, environment.random)
          return try await MemoryKeyProvider(keys: keys, environment: environment)
        }
      },
      policyStore: { [contents] (section, environment) throws(KeyCustodyError) in
        let name = try section.string("name") ?? "default"
        let isShared = try section.boolean("shared") ?? false
        return { () throws(KeyCustodyError) in
          MemoryPolicyStore(records: try contents.records(name, environment.random), isShared: isShared)
        }
      },
      sealedTable: { [contents] (section, _) throws(KeyCustodyError) in
        let name = try section.string("name") ?? "default"
        return { () throws(KeyCustodyError) in MemorySealedTable(rows: contents.rows(name)) }
      })
  }
}

/// Keys, records and rows by the name of their section.
private final class Contents: Sendable {
  private let allKeys = Mutex<[String: MemoryKeys]>([:])
  private let allRecords = Mutex<[String: MemoryRecords]>([:])
  private let allRows = Mutex<[String: MemoryRows]>([:])

  func rows(_ name: String) -> MemoryRows {
    allRows.withLock { all in
      if let found = all[name] { return found }
      let fresh = MemoryRows()
      all[name] = fresh
      return fresh
    }
  }

  func keys(_ name: String, _ random: any RandomSource) throws(KeyCustodyError) -> MemoryKeys {
    try allKeys.withLock { (all) throws(KeyCustodyError) in
      if let found = all[name] { return found }
      let fresh = try MemoryKeys(random: random)
      all[name] = fresh
      return fresh
    }
  }

  func records(_ name: String, _ random: any RandomSource) throws(KeyCustodyError) -> MemoryRecords {
    try allRecords.withLock { (all) throws(KeyCustodyError) in
      if let found = all[name] { return found }
      let fresh = try MemoryRecords(random: random)
      all[name] = fresh
      return fresh
    }
  }
}
