import KeyCustody
import KeyCustodyMemory
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyTestSupport
package import KeyCustodyTesting

extension Subjects {
  /// Sealed records in memory.
  package static let memoryTable = SealedTableSubject { environment in
    let plugin = MemoryPlugin().plugin
    return .persistent {
      try await [plugin].openSealedTable(KeyCustodyConfiguration(["plugin": "memory"]).root, environment)
    }
  }

  /// Sealed records in a database.
  package static let databaseTable = SealedTableSubject { environment in
    let folder = try TemporaryFolder()
    return .persistent {
      try await [SQLitePlugin.plugin].openSealedTable(
        KeyCustodyConfiguration(["plugin": "sqlite", "path": .string(folder.appending("data.sqlite"))]).root,
        environment)
    }
  }

  /// Sealed records on a PostgreSQL server.
  package static let serverTable = SealedTableSubject { environment in
    let settings = try PostgreSQLServer.shared().settings(schema: PostgreSQLServer.schemaName())
    return .persistent {
      try await [PostgreSQLPlugin.plugin].openSealedTable(KeyCustodyConfiguration(settings).root, environment)
    }
  }
}
