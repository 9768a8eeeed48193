public import KeyCustody

/// Records, and sealed data, in a PostgreSQL database: for a service that runs as several processes, on several machines.
///
/// ## Policy store
/// - `url`: the database, as libpq's `postgresql://USER@HOST:PORT/DATABASE?…`, without a password.
/// - `passwordFile` or `passwordEnvironment`: where the password is read from, at each new connection. One that the server
///   refused is not shown again before it is changed.
/// - `sslmode`: as libpq's; `verify-full` unless given (or the host is this machine). The certificate authority is
///   `sslrootcert` of the `url`.
/// - `schema`: the schema of the tables; `key_custody` unless given. `create` (default true): make it where there is none.
/// - `connections`: how many reads are done at once, 1 to 64; 4 unless given. Two more connections change and watch.
/// - `queue`: how many reads, and how many changes, may wait; 512 unless given. More are `busy`.
/// - `timeout`: how many seconds a call may take, 1 to 600; 5 unless given.
/// - `notifications` (default true): whether the server tells of changes by `NOTIFY`, which not every engine that speaks
///   PostgreSQL's protocol can. `pollMilliseconds`: how often to look for changes of other processes without being told, 10
///   to 60,000; 1,000 unless given.
///
/// ## Table of sealed records
/// The same keys, of which the last two have no effect: `connections` is how many calls are done at once, `queue` how many
/// may wait. It may share database and schema with a policy store.
///
/// What the `url` leaves out libpq takes from its own variables (`PGSSLROOTCERT`, …). Its password file is not read.
public enum PostgreSQLPlugin {
  /// The plugin `postgresql`.
  public static let plugin = Plugin(name: "postgresql", policyStore: openPolicyStore, sealedTable: openSealedTable)

  private static func openPolicyStore(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any PolicyStore> {
    let settings = try PostgreSQLSettings(section, environment)
    return { () throws(KeyCustodyError) in try await PostgreSQLPolicyStore(settings) }
  }
  private static func openSealedTable(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> BackendOpening<any SealedTable> {
    let settings = try PostgreSQLSettings(section, environment)
    return { () throws(KeyCustodyError) in try await PostgreSQLSealedTable(settings) }
  }
}
