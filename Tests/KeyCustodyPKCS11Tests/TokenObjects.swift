import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport

@testable import KeyCustodyPKCS11

/// A look at a token past the provider, on a logged-in session of the test's own.
final class TokenObjects: Sendable {
  private let use: PKCS11TokenUse
  private let session: PKCS11Session

  init(_ token: SoftHSMToken) async throws {
    let section = KeyCustodyConfiguration(["hsm": .section(token.settings)]).root.section("hsm")
    let settings = try PKCS11Settings(common: section, RuntimeEnvironment())
    use = try await BlockingWorker().run { () throws(KeyCustodyError) in try PKCS11TokenUse(settings) }
    session = try PKCS11Session(use.token)
  }

  /// Runs `body` on the session.
  func run<Result: Sendable>(
    _ body: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) async throws -> Result { try await session.run(isRepeatable: false, body) }

  /// Closes the session and ends the use of the token.
  func close() async throws {
    await session.close()
    let use = use
    try await BlockingWorker().run { use.end() }
  }

  /// Looks at a token and closes again.
  static func look<Result: Sendable>(
    at token: SoftHSMToken, _ body: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) async throws -> Result {
    let objects = try await TokenObjects(token)
    do {
      let result = try await objects.run(body)
      try await objects.close()
      return result
    } catch {
      try await objects.close()
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
