/// What guards a key of a vault (SEMANTICS V7): told apart by the key type on the wire (`RSA` and `RSA-HSM`).
public enum KeyProtection: String, Sendable, Hashable, Codable, CaseIterable {
  /// The vault's key provider, whatever it is.
  case software
  /// The vault's HSM key provider.
  case hsm

  /// As it is stored: software-protected keys were there before there were others.
  var stored: KeyProtection? { self == .software ? nil : self }
}
