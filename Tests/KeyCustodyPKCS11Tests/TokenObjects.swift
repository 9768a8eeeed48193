import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport

@testable import KeyCustodyPKCS11

/// A look at a token past the provider, on a logged-in session of the test's own.
final class TokenObjects: Sendable {
  private let use: PKCS11TokenUse
  private let pool: PKCS11SessionPool

  init(_ token: SoftHSMToken, in copy: ModuleCopy? = nil) async throws {
    let changes = copy?.settings(token) ?? [:]
    let section = KeyCustodyConfiguration(["hsm": .section(token.settings.merging(changes) { $1 })]).root.section("hsm")
    let settings = try PKCS11Settings(common: section, RuntimeEnvironment())
    use = try await PKCS11TokenUse.open(settings)
    pool = PKCS11SessionPool(use.token, count: 1, patience: .seconds(60), time: SystemTime())
  }

  /// Runs `body` on the session.
  func run<Result: Sendable>(
    _ body: @escaping @Sendable (CryptokiSession) throws(PKCS11Failure) -> Result
  ) async throws -> Result { try await pool.run(deadline: nil, body) }

  /// Closes the session and ends the use of the token.
  func close() async {
    let use = use
    await pool.close { await use.end() }
  }

  /// Looks at a token and closes again.
  ///
  /// SoftHSM's files are locked against other processes, not against other copies of it in this one: a copy that reads a
  /// token while another logs in to it may take it for broken. So look at what a fault module uses through a new copy.
  static func look<Result: Sendable>(
    at token: SoftHSMToken, in copy: ModuleCopy? = nil,
    _ body: @escaping @Sendable (CryptokiSession) throws(PKCS11Failure) -> Result
  ) async throws -> Result {
    let objects = try await TokenObjects(token, in: copy)
    do {
      let result = try await objects.run(body)
      await objects.close()
      return result
    } catch {
      await objects.close()
      throw error
    }
  }
}

/// A copy of SoftHSM's library under another path: a module of its own in this process, with its own C_Initialize, that
/// sees the same tokens.
///
/// It stands for another process, and can be finalised without disturbing other tests.
struct ModuleCopy {
  let folder: TemporaryFolder
  let path: String

  init() throws {
    folder = try TemporaryFolder()
    path = try folder.write(SoftHSM.contents(of: try SoftHSM.shared.installedModule()), to: "libsofthsm2.so")
  }

  /// The token as this module sees it.
  func settings(_ token: SoftHSMToken) -> [String: ConfigurationValue] { ["module": .string(path)] }
}
