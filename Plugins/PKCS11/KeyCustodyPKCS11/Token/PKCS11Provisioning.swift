import CKeyCustodyPKCS11
package import KeyCustody
import Synchronization

/// Making new tokens, for development and tests.
package enum PKCS11Provisioning {
  /// Two initialisations at once would take the same free slot.
  private static let turn = Mutex(())

  /// Initialises a token in a free slot of a module (C_InitToken) and sets its user PIN (C_InitPIN).
  ///
  /// On SoftHSM there is always a free slot; other modules have one where a token waits to be initialised. Slot numbers
  /// change on the way, so the token is found again by what it says of itself.
  /// - Throws: `invalidInput` for a label that is too long or taken; `unavailable` when no slot is free; what the module
  ///   refuses.
  package static func initialize(
    module path: String, label: String, userPIN: borrowing SecretBytes, securityOfficerPIN: borrowing SecretBytes
  ) async throws(KeyCustodyError) -> PKCS11TokenInfo {
    guard (1...32).contains(label.utf8.count) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A token's label has 1 to 32 bytes.")
    }
    let user = SecretBox(copying: userPIN)
    let officer = SecretBox(copying: securityOfficerPIN)
    return try await BlockingWorker().run { () throws(KeyCustodyError) in
      let module = try PKCS11ModuleHost.shared.acquire(path)
      defer { module.removeUser() }
      return try turn.withLock { _ throws(KeyCustodyError) in
        try module.inside { () throws(KeyCustodyError) in try initialize(module, label, user, officer) }
      }
    }
  }

  /// Keeps a module initialised to the end of the process: where many backends come and go, as in tests.
  package static func keepInitialized(_ path: String) async throws(KeyCustodyError) {
    _ = try await BlockingWorker().run { () throws(KeyCustodyError) in try PKCS11ModuleHost.shared.acquire(path) }
  }

  private static func initialize(
    _ module: PKCS11Module, _ label: String, _ user: SecretBox, _ officer: SecretBox
  ) throws(KeyCustodyError) -> PKCS11TokenInfo {
    let before = try TokenSelector.tokens(of: module).present.map(\.info)
    guard !before.contains(where: { $0.label == label }) else {
      throw KeyCustodyError(
        .invalidInput, .alreadyExists, "There is a token '\(label)' already.", remedy: "Choose another label.")
    }
    let cryptoki = module.cryptoki
    do throws(PKCS11Failure) {
      let free = try cryptoki.slotsWithToken().first { slot in
        (try? cryptoki.tokenInfo(slot)).map { !$0.isInitialized } ?? false
      }
      guard let free else {
        throw PKCS11Failure.custody(
          KeyCustodyError(
            .unavailable, .init("no-free-slot"), "The module '\(module.path)' has no slot for a new token.",
            remedy: "Make one with the vendor's tool."))
      }
      try cryptoki.initializeToken(free, label: label, pin: officer.bytes)
    } catch { throw error.translated }
    let serials = Set(before.map(\.serial))
    let found = try TokenSelector.tokens(of: module).present.first {
      $0.info.label == label && !serials.contains($0.info.serial)
    }
    guard let found else {
      throw KeyCustodyError(
        .fault, .internalFault, "The new token does not appear among the module's tokens.", diagnostic: "C_InitToken")
    }
    do throws(PKCS11Failure) { try setPIN(cryptoki, found.slot, user, officer) } catch { throw error.translated }
    return found.info
  }

  private static func setPIN(
    _ cryptoki: Cryptoki, _ slot: CK_SLOT_ID, _ user: SecretBox, _ officer: SecretBox
  ) throws(PKCS11Failure) {
    let session = try cryptoki.openSession(slot)
    // Closing the token's only session ends the security officer's login.
    defer { try? cryptoki.closeSession(session) }
    try cryptoki.login(session, as: CKU_SO, pin: officer.bytes)
    try cryptoki.initializePIN(session, pin: user.bytes)
  }
}
