public import KeyCustody

/// Records in a SQLite database: the store of a service that keeps its state, or its sealed data, on its own disk.
///
/// ## Policy store
/// `path`: the database file, in a folder that nobody else may write to; relative paths start at
/// ``RuntimeEnvironment/baseDirectory``. `create` (default true): make the file where there is none.
///
/// Beside it SQLite keeps `PATH-wal` and `PATH-shm`, and the one process that has the store open holds `PATH.lock`. All
/// have mode 600.
///
/// ## Table of sealed records
/// The same keys; a file of its own.
public enum SQLitePlugin {
  /// The plugin `sqlite`.
  public static let plugin = Plugin(name: "sqlite", policyStore: openPolicyStore, sealedTable: openSealedTable)

  private static func openPolicyStore(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any PolicyStore> {
    let path = environment.path(try section.requiredString("path"))
    let create = try section.boolean("create") ?? true
    return { () throws(KeyCustodyError) in
      try await SQLitePolicyStore(path: path, create: create, environment: environment)
    }
  }
  private static func openSealedTable(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any SealedTable> {
    let path = environment.path(try section.requiredString("path"))
    let create = try section.boolean("create") ?? true
    return { () throws(KeyCustodyError) in
      try await SQLiteSealedTable(path: path, create: create, environment: environment)
    }
  }
}
