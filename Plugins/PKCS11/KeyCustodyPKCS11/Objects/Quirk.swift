/// A way in which a token departs from what the standard lets one expect, and where that is known from.
///
/// The code never asks a token's name: it copes with both ways, or finds out at opening. The table says why it is
/// written as it is; `keycustody doctor --quirks` prints it.
package struct Quirk: Sendable, Hashable, Encodable {
  /// What is different.
  package let what: String
  /// How the code copes.
  package let answer: String
  /// Where it was seen.
  package let source: String

  /// Those that shaped this plugin.
  package static let known: [Quirk] = [
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
    Quirk(
      what: "CKA_ALLOWED_MECHANISMS of a key that has none reads as an unknown attribute or as one of no length",
      answer: "both mean: not restricted",
      source: "kryoptic #159; yubihsm-shell #331"),
    Quirk(
      what: "public keys have to be CKA_PRIVATE false (nShield)",
      answer: "public keys are made so",
      source: "krill #1019"),
    Quirk(
      what: "CKA_MODIFIABLE true is refused (YubiHSM 2)",
      answer: "only false is ever given",
      source: "yubihsm-shell #540"),
    Quirk(
      what: "CKA_MODULUS_BITS in the private half's template makes a key that can't be used (AWS CloudHSM)",
      answer: "it stands in the public half's template alone",
      source: "AWS CloudHSM, ki-pkcs11-sdk.html"),
    Quirk(
      what:
        "OAEP without CKZ_DATA_SPECIFIED as its source answers CKR_MECHANISM_INVALID, even where there is no label (Luna)",
      answer: "the source is always set",
      source: "libp11 #439"),
    Quirk(
      what:
        "an empty OAEP label: NULL is refused by SoftHSM at C_UnwrapKey, anything but NULL by AWS CloudHSM; a label at all is refused by both",
      answer: "no label and NULL, in C_Decrypt alone, where both take it; tried at opening",
      source:
        "Cosmian/kms 03668a3, crate/hsm/base_hsm/src/hsm_capabilities.rs; aws-cloudhsm-user-guide #25; node-webcrypto-p11 #80"
    ),
    Quirk(
      what:
        "OAEP wants hash and mask of one size, PSS a salt of the hash's length (nShield); a digest weaker than the curve is refused (AWS CloudHSM)",
      answer: "both are what the provider gives; curve and digest go in pairs",
      source: "nShield 13.3, api-pkcs11/mech-annotations.html; Cosmian/kms 03668a3, hsm_capabilities.rs"),
    Quirk(
      what: "sessions end after idling: 30 s and 16 of them (YubiHSM 2), AppTimeout of 30 min (Utimaco)",
      answer:
        "a closed session is replaced, a lost login made anew with the PIN file read again, and the call repeated; nothing is kept alive",
      source: "developers.yubico.com/YubiHSM2/Concepts/Session.html; docs.keyfactor.com, utimaco-cryptoserver"),
    Quirk(
      what:
        "a session that the device ended comes back only by C_Finalize: login by a YubiKey (YubiHSM 2), all members of an HA group lost (Luna)",
      answer:
        "the last rung of a repair finalises the module and starts it anew, unless another part of the process initialised it",
      source: "yubihsm-shell #541; Luna 7.3, sdk/java/ha_recover_all_members.htm"),
    Quirk(
      what:
        "a lost connection has no code of its own: CKR_FUNCTION_FAILED (YubiHSM 2), CKR_CRYPTOKI_NOT_INITIALIZED after minutes of hanging "
        + "(SafeNet network client)",
      answer:
        "both lead to a repair and count as unreachable; callers wait to their own deadline, whatever the call does",
      source: "yubihsm-shell #267; Pkcs11Interop #214"),
    Quirk(
      what: "throttling answers CKR_DEVICE_ERROR from C_GetAttributeValue (AWS CloudHSM)",
      answer: "a canary decides, twice: one device error is not a broken token",
      source: "AWS CloudHSM, pkcs11-certificate-storage-limits.html"),
    Quirk(
      what: "login outlives the last session, or ends with the session that logged in",
      answer: "a keeper's session logs in and stays; C_GetSessionInfo says whether others are logged in",
      source: "kryoptic #163; tpm2-pkcs11 #844"),
    Quirk(
      what:
        "C_Logout makes every private handle of every session invalid, and logging in again does not bring them back",
      answer: "the provider never logs out; after a new login handles are searched anew",
      source: "cfssl #329; SoftHSMv2 #461"),
    Quirk(
      what: "without a login a search for private objects answers CKR_OK and none",
      answer: "the sentinel, a private object, has to be seen before absence is believed",
      source: "SoftHSMv2 #329"),
    Quirk(
      what: "read-only sessions are refused or half work: CKR_FUNCTION_FAILED (AWS CloudHSM)",
      answer: "every session is for reading and writing",
      source: "AWS CloudHSM, ki-pkcs11-sdk.html"),
    Quirk(
      what: "a wrong-PIN counter of the login role locks it after ten (Luna)",
      answer: "each PIN is tried once; a refused one is remembered and not presented again",
      source: "Luna 7, partition_login.htm"),
    Quirk(
      what: "a handle is used again for another object after one was destroyed or the token came back",
      answer: "handles belong to one standing of the token: a repair that did anything makes them unknown",
      source: "pkcs11-provider #494 and #495; libp11 #541"),
    Quirk(
      what: "without C_FindObjectsFinal the next search of the session answers CKR_OPERATION_ACTIVE",
      answer: "it follows every search, failed ones too, and CKR_OPERATION_ACTIVE costs the session",
      source: "fabric #1976"),
    Quirk(
      what: "data objects have 8,192 bytes at most (nShield)",
      answer: "the sentinel is short; records belong in another policy store",
      source: "nShield 13.5.1, api-pkcs11/objects.html"),
    Quirk(
      what: "after fork the child gets CKR_CRYPTOKI_ALREADY_INITIALIZED, invalid handles or a deadlock",
      answer: "every call in a child is refused before it reaches the module; backends are opened after forking",
      source: "libp11 #245; OpenSC #960; pkcs11-helper #16"),
    Quirk(
      what: "C_Finalize hangs while it waits for a thread of the module, or crashes at exit or while calls are inside",
      answer: "never at exit and never beneath a call: where one does not come out, the module stays as it is",
      source: "linux-installer #41; osslsigncode #390; SoftHSMv2 #635; tpm2-pkcs11 #612; OpenSC #1279"),
    Quirk(
      what:
        "other users of the library in this process: C_Initialize answers CKR_CRYPTOKI_ALREADY_INITIALIZED, and their C_Finalize ends ours",
      answer:
        "a module found initialised is adopted: never finalised here, and started anew only after its owner finalised it",
      source: "krill #761; thin-edge.io #4353"),
    Quirk(
      what: "the RPC client of p11-kit waits for ever in calls that were under way when its daemon was killed",
      answer: "callers go at their deadline; 'sessions': 1 keeps the module from it",
      source: "p11-kit 0.24.1, measured"),
    Quirk(
      what: "the RPC client of p11-kit writes to a closed socket and raises SIGPIPE, which ends the process",
      answer: "SIGPIPE is blocked on the threads that call a module",
      source: "p11-kit 0.24.1, measured (exit 141)"),
    Quirk(
      what:
        "several attributes asked for at once: stops at the first that can't be given (SoftHSM), CKR_GENERAL_ERROR (NetHSM), a length left unset (corePKCS11)",
      answer:
        "what was not answered together is asked for one by one, and no length is believed beyond the room it was given",
      source: "SoftHSMv2 #128; nethsm-pkcs11 #227; corePKCS11 #170"),
    Quirk(
      what: "objects of other processes are not seen, or seen still, until the module starts anew (nShield by default)",
      answer: "a key that was there and is not found counts as gone only after the module was started anew",
      source: "nShield 13.6.3, api-pkcs11/env-variables.html; rust-cryptoki #75; OpenSC #325"),
    Quirk(
      what: "C_Login while logged in answers CKR_USER_ALREADY_LOGGED_IN or CKR_OK, whatever the PIN",
      answer:
        "C_GetSessionInfo is asked first; the PIN that was accepted is remembered by a verifier, and a later one has to match",
      source: "cfssl #404; SoftHSMv2 #552"),
  ]
}
