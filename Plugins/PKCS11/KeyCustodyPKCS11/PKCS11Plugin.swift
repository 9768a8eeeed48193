public import KeyCustody

/// The PKCS#11 plugin: keys and policy records on a token of any vendor's module (OASIS PKCS#11 2.40).
///
/// Settings of both backends:
/// - `module`: the absolute path of the vendor's library.
/// - `token`: which token, as an RFC 7512 URI of token attributes, `pkcs11:token=LABEL;serial=NUMBER`.
/// - `pinFile` or `pinEnvironment`: where the user PIN is read from: at opening, and when the login was lost. A PIN that the
///   token refused is not tried again before it is changed.
/// - `timeout`: how many seconds a call without a deadline of its own may take, 1 to 600; 5 unless given. Making,
///   importing and listing keys, opening, and changes of a policy store may take twelve times as long.
///
/// Of the key provider:
/// - `sessions`: how many operations run at once, 1 to 64; 4 unless given.
/// - `checkWraps`: whether what an AES key of the token wrapped is unwrapped again and compared before it is handed out;
///   true unless given.
/// - `emulate`: what the host may do in the token's place; it may list `RSA-OAEP-256`, which then is the bare RSA
///   operation on the token and the decoding of the padding, in constant time, in this process.
///
/// Of the policy store:
/// - `lockFile`: a file that the one process that has the store open holds locked.
public enum PKCS11Plugin {
  static let name = "pkcs11"

  /// The plugin, for the host's list.
  public static let plugin = Plugin(
    name: name,
    keyProvider: { (section, environment) throws(KeyCustodyError) in
      let settings = try PKCS11Settings(keyProvider: section, environment)
      return { () async throws(KeyCustodyError) in try await PKCS11KeyProvider.open(settings) }
    },
    policyStore: { (section, environment) throws(KeyCustodyError) in
      let settings = try PKCS11Settings(common: section, environment)
      let lockFile = environment.path(try section.requiredString("lockFile"))
      return { () async throws(KeyCustodyError) in try await PKCS11PolicyStore.open(settings, lockFile: lockFile) }
    })
}
