package import KeyCustody

/// The algorithms of FIPS mode, by their JOSE names; whatever is not listed is refused.
///
/// OpenSSL's property query chooses an implementation of an algorithm, and knows nothing of paddings or key sizes: those
/// are refused here. The sources of the list:
///
/// - RSA-OAEP-256: SP 800-56B rev. 2, section 7.2.2 (RSA-OAEP), with keys of 2048 bits and more (SP 800-131A rev. 2,
///   table 5).
/// - RSA-OAEP (SHA-1) unwraps what was wrapped before, and wraps nothing new. SP 800-131A rev. 2, section 9, still
///   takes SHA-1 outside signatures, but NIST withdraws SHA-1 altogether at the end of 2030, and a KEK's wraps live
///   longer than that.
/// - A256KW: SP 800-38F, section 6.2 (KW), as the module's own service.
/// - ES256, ES384, ES512: FIPS 186-5, section 6, on the curves of SP 800-186. RS256 to RS512, PS256 to
///   PS512: FIPS 186-5, section 5.4.
/// - A256GCM: SP 800-38D. Who makes the nonce is another matter: see the guide on FIPS mode.
/// - HMAC: FIPS 198-1. PBKDF2: SP 800-132, with a salt of at least 128 bits and 1,000 rounds.
package enum FIPSAllowList {
  /// What an algorithm is wanted for.
  package enum Use: String, Sendable, CaseIterable {
    /// Wrapping a secret anew.
    case wrapping
    /// Unwrapping what was wrapped at any time.
    case unwrapping
    /// Signing, and checking signatures.
    case signing
    /// Sealing data.
    case sealing
    /// Deriving keys.
    case deriving
  }

  private static let allowed: [Use: [String]] = [
    .wrapping: ["RSA-OAEP-256", "A256KW"],
    .unwrapping: ["RSA-OAEP-256", "A256KW", "RSA-OAEP"],
    .signing: ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"],
    .sealing: ["A256GCM"],
    .deriving: ["HMAC-SHA-256", "HMAC-SHA-384", "HMAC-SHA-512", "PBKDF2-HMAC-SHA-512"],
  ]

  /// Why well-known names are missing.
  private static let reasons: [String: String] = [
    "RSA1_5": "SP 800-131A rev. 2 has disallowed this padding for key transport since 2024",
    "RSA-OAEP": "it hashes with SHA-1, which NIST withdraws at the end of 2030 (SP 800-131A rev. 2 and its successor)",
    "ES256K": "its curve, secp256k1, is not among those of FIPS 186-5 and SP 800-186 for signatures",
    "EdDSA": "FIPS 186-5 has it, OpenSSL 3.0's FIPS provider does not offer it as validated",
    "RS1": "it signs SHA-1 digests, which SP 800-131A rev. 2 disallows",
    "XChaCha20Poly1305": "it is not an approved cipher",
    "C20P": "it is not an approved cipher",
  ]

  /// Why an algorithm is refused; `nil` when it is allowed.
  package static func refusal(of name: String, for use: Use) -> String? {
    let names = allowed[use] ?? []
    if names.contains(name) { return nil }
    return reasons[name] ?? "it is not on the list of algorithms for \(use.rawValue)"
  }

  /// Why a type of key is refused; `nil` when it is allowed.
  ///
  /// RSA below 2048 bits has less than 112 bits of strength: SP 800-131A rev. 2, tables 2 and 5.
  package static func refusal(of type: KeyType) -> String? {
    switch type {
    case .rsa(let bits) where bits < 2048:
      "RSA with \(bits) bits has less than the 112 bits of strength that SP 800-131A rev. 2 asks for"
    case .rsa, .ec: nil
    case .aes(let bits): bits == 256 ? nil : "AES with \(bits) bits is not on the list"
    }
  }

  /// Why a role is refused; `nil` when it is allowed.
  ///
  /// FIPS 186-5, section 5.1: an RSA key pair for signatures is used for nothing else, such as key establishment.
  package static func refusal(of role: KeyRole) -> String? {
    role.wraps && role.signs ? "a key that signs must do nothing else (FIPS 186-5, section 5.1)" : nil
  }

  /// Refuses an algorithm that is not on the list.
  ///
  /// - Throws: `unsupported` (`not-offered`).
  package static func require(_ name: String, for use: Use) throws(KeyCustodyError) {
    guard let refusal = refusal(of: name, for: use) else { return }
    throw KeyCustodyError(
      .unsupported, .notOffered, "FIPS mode refuses '\(name.prefix(40))' for \(use.rawValue): \(refusal).",
      remedy: "Use one of: \((allowed[use] ?? []).joined(separator: ", ")).")
  }

  /// Refuses a type of key that is not on the list.
  ///
  /// - Throws: `unsupported` (`not-offered`).
  package static func require(_ type: KeyType) throws(KeyCustodyError) {
    guard let refusal = refusal(of: type) else { return }
    throw KeyCustodyError(
      .unsupported, .notOffered, "FIPS mode refuses keys of type \(type): \(refusal).",
      remedy: "Use RSA of 2048 bits and more, P-256, P-384, P-521 or AES-256.")
  }
}

extension GenerateKeyRequest {
  /// Refuses, in FIPS mode, a role that is not allowed there.
  ///
  /// - Throws: `unsupported` (`not-offered`).
  package func requireAllowedRole() throws(KeyCustodyError) {
    guard OpenSSLLibrary.shared.module.mode == .fips, let refusal = FIPSAllowList.refusal(of: role) else { return }
    throw KeyCustodyError(
      .unsupported, .notOffered, "FIPS mode refuses a \(role.rawValue) key: \(refusal).",
      remedy: "Make a wrapping key and a signing key.")
  }
}

extension OpenSSLLibrary {
  /// Refuses, in FIPS mode, an algorithm that is not on the list.
  static func allow(_ name: String, for use: FIPSAllowList.Use) throws(KeyCustodyError) {
    if shared.module.mode == .fips { try FIPSAllowList.require(name, for: use) }
  }

  /// Refuses, in FIPS mode, a type of key that is not on the list.
  static func allow(_ type: KeyType) throws(KeyCustodyError) {
    if shared.module.mode == .fips { try FIPSAllowList.require(type) }
  }
}
