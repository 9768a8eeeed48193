/// A way in which a token departs from what the standard lets one expect, and where that is known from.
///
/// The code never asks a token's name: it copes with both ways, or finds out at opening. The table says why it is
/// written as it is, and its rows stand in `keycustody doctor`.
struct Quirk: Sendable, Hashable {
  /// What is different.
  let what: String
  /// How the code copes.
  let answer: String
  /// Where it was seen.
  let source: String

  /// Those that shaped this plugin.
  static let known: [Quirk] = [
    Quirk(
      what: "RSA-OAEP only with SHA-1 and without a label; other hashes answer CKR_ARGUMENTS_BAD",
      answer: "RSA-OAEP-256 is tried at opening; where it fails it may be emulated by CKM_RSA_X_509",
      source: "SoftHSM 2.6.1, measured; SoftHSMv2 #474"),
    Quirk(
      what: "AES key wrap only through C_WrapKey and C_UnwrapKey; CKA_VALUE_LEN at unwrapping is refused",
      answer: "secrets pass through session objects; no length is given",
      source: "SoftHSM 2.6.1, measured (Luna wants the length: opencryptoki #897)"),
    Quirk(
      what: "CKM_AES_KEY_WRAP_PAD pads with zeros before RFC 5649 when wrapping; unwrapping is right",
      answer: "it is used to unwrap only; the host wraps",
      source: "SoftHSM 2.6.1, measured"),
    Quirk(
      what: "after CKA_MODIFIABLE false, the rest of a C_UnwrapKey template answers CKR_ATTRIBUTE_READ_ONLY",
      answer: "it is the last attribute of every template",
      source: "SoftHSM 2.6.1, measured"),
    Quirk(
      what: "CKA_VALUE_LEN of an unwrapped key reads 0",
      answer: "an AES key of unknown length counts as AES-256, and its description says so",
      source: "SoftHSM 2.6.1, measured; python-pkcs11 #120"),
    Quirk(
      what: "altered input answers CKR_GENERAL_ERROR, as a broken token does",
      answer: "a known-good operation with the same key decides which it was",
      source: "SoftHSM 2.6.1, measured"),
    Quirk(
      what: "a vanished token directory answers searches with no objects and CKR_OK",
      answer: "absence is believed only when C_GetSessionInfo and C_GetTokenInfo answer as they should",
      source: "SoftHSM 2.6.1, measured"),
    Quirk(
      what: "CKA_EC_POINT is wrapped in an OCTET STRING on most tokens and bare on some",
      answer: "both forms are read", source: "PKCS#11 2.40, 2.3.3; OpenSC #1484"),
  ]
}
