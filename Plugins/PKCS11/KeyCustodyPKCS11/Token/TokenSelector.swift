import CKeyCustodyPKCS11
import KeyCustody

/// Which token of a module is meant: the token attributes of an RFC 7512 URI.
///
/// Never the slot number: modules hand those out anew, and then it is another token's.
struct TokenSelector: Sendable, Hashable {
  let serial: String?
  let label: String?
  let manufacturer: String?
  let model: String?

  /// Reads `pkcs11:token=NAME;serial=NUMBER`.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`), also for attributes that have no place here: a PIN (it would
  ///   stand in the configuration), a module (it has a key of its own), a slot, an object.
  init(_ text: String) throws(KeyCustodyError) {
    guard let uri = unsafe p11_kit_uri_new() else {
      throw KeyCustodyError(.fault, .internalFault, "No memory for a PKCS#11 URI.", diagnostic: "p11_kit_uri_new")
    }
    defer { unsafe p11_kit_uri_free(uri) }
    let code = unsafe p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri)
    guard code == P11_KIT_URI_OK.rawValue else {
      let why = unsafe p11_kit_uri_message(code).map { unsafe String(cString: $0) } ?? "\(code)"
      throw Self.wrong("is not a PKCS#11 URI (RFC 7512)", diagnostic: "p11_kit_uri_parse: \(why)")
    }
    try unsafe Self.refuseStrangers(uri)
    guard let info = unsafe p11_kit_uri_get_token_info(uri)?.pointee else { throw Self.wrong("names no token") }
    serial = Self.given(info.serialNumber)
    label = Self.given(info.label)
    manufacturer = Self.given(info.manufacturerID)
    model = Self.given(info.model)
    guard serial != nil || label != nil || manufacturer != nil || model != nil else {
      throw Self.wrong("names no token")
    }
  }

  private static func refuseStrangers(_ uri: OpaquePointer) throws(KeyCustodyError) {
    guard unsafe p11_kit_uri_get_pin_value(uri) == nil, unsafe p11_kit_uri_get_pin_source(uri) == nil else {
      throw wrong("holds a PIN attribute; the PIN is given by 'pinFile' or 'pinEnvironment'")
    }
    let library = unsafe p11_kit_uri_get_module_info(uri)?.pointee
    let namesLibrary = library.map { given($0.manufacturerID) != nil || given($0.libraryDescription) != nil } ?? false
    let namesVersion = library.map { $0.libraryVersion.major != 0xff } ?? false
    guard unsafe p11_kit_uri_get_module_path(uri) == nil, unsafe p11_kit_uri_get_module_name(uri) == nil, !namesLibrary,
      !namesVersion
    else { throw wrong("holds a module attribute; the module is given by 'module'") }
    let slot = unsafe p11_kit_uri_get_slot_info(uri)?.pointee
    let namesSlot = slot.map { given($0.slotDescription) != nil || given($0.manufacturerID) != nil } ?? false
    guard unsafe p11_kit_uri_get_slot_id(uri) == CK_SLOT_ID.max, !namesSlot else {
      throw wrong("selects a slot; slots are numbered anew by many modules")
    }
    var attributes: CK_ULONG = 0
    _ = unsafe p11_kit_uri_get_attributes(uri, &attributes)
    guard attributes == 0, unsafe p11_kit_uri_any_unrecognized(uri) == 0 else {
      throw wrong("holds attributes other than token, serial, manufacturer and model")
    }
  }

  /// p11-kit leaves a field that the URI does not give at zero.
  private static func given<Field>(_ field: Field) -> String? {
    let isGiven = unsafe withUnsafeBytes(of: field) { unsafe $0.first != 0 }
    return isGiven ? PKCS11TokenInfo.text(field) : nil
  }

  private static func wrong(_ what: String, diagnostic: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue, "The value of 'token' \(what).",
      remedy: "Write 'pkcs11:token=LABEL;serial=NUMBER'; 'keycustody doctor' and p11tool show both.",
      diagnostic: diagnostic)
  }

  /// Whether a token has every attribute given.
  func fits(_ token: PKCS11TokenInfo) -> Bool {
    let pairs = [
      (serial, token.serial), (label, token.label), (manufacturer, token.manufacturer), (model, token.model),
    ]
    return pairs.allSatisfy { wanted, found in wanted.map { $0 == found } ?? true }
  }

  /// The one token of a module that fits.
  ///
  /// - Throws: `notFound`, naming the tokens there are; `invalidInput` when several fit; `unavailable`.
  func select(in module: PKCS11Module) throws(KeyCustodyError) -> (slot: CK_SLOT_ID, info: PKCS11TokenInfo) {
    let (present, silent) = try Self.tokens(of: module)
    return try select(from: present, silent: silent, module: module.path)
  }

  /// The rule of ``select(in:)``, given what a module showed.
  func select<Slot>(
    from present: [(slot: Slot, info: PKCS11TokenInfo)], silent: Int, module: String
  ) throws(KeyCustodyError) -> (slot: Slot, info: PKCS11TokenInfo) {
    let fitting = present.filter { fits($0.info) }
    guard let found = fitting.first else {
      guard silent == 0 else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "\(silent) slots of '\(module)' don't answer, and no other token fits.",
          remedy: "Check the token and its connection.", diagnostic: "C_GetTokenInfo")
      }
      let names = present.isEmpty ? "it has none" : "it has \(Self.list(present.map(\.info)))"
      throw KeyCustodyError(
        .notFound, .init("token-unknown"), "No token of '\(module)' fits the configured URI: \(names).",
        remedy: "Correct 'token', or connect the token.")
    }
    guard fitting.count == 1 else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "Several tokens fit the configured URI: \(Self.list(fitting.map(\.info))).",
        remedy: "Add the serial number to 'token'.")
    }
    return found
  }

  /// The initialised tokens of a module, and how many slots did not answer.
  static func tokens(
    of module: PKCS11Module
  ) throws(KeyCustodyError) -> (present: [(slot: CK_SLOT_ID, info: PKCS11TokenInfo)], silent: Int) {
    var present: [(slot: CK_SLOT_ID, info: PKCS11TokenInfo)] = []
    var silent = 0
    do {
      for slot in try module.cryptoki.slotsWithToken() {
        if let info = try? module.cryptoki.tokenInfo(slot) {
          if info.isInitialized { present.append((slot, info)) }
        } else {
          silent += 1
        }
      }
    } catch { throw error.translated }
    return (present, silent)
  }

  private static func list(_ tokens: [PKCS11TokenInfo]) -> String {
    let shown = tokens.prefix(20).map { "'\($0.label)' (serial \($0.serial))" }.joined(separator: ", ")
    return tokens.count > 20 ? "\(shown) and \(tokens.count - 20) more" : shown
  }
}
