public import KeyCustody

extension KeyCustodyError.Reason {
  /// No rule allows it, or one forbids it.
  public static let accessDenied = Self("access-denied")
  /// The key version is switched off.
  public static let keyDisabled = Self("key-disabled")
  /// The key is soft-deleted.
  public static let keyDeleted = Self("key-deleted")
  /// Outside the key version's validity.
  public static let keyOutsideValidity = Self("key-outside-validity")
  /// No such vault.
  public static let vaultUnknown = Self("vault-unknown")
  /// No such key.
  public static let keyUnknown = Self("key-unknown")
  /// Purge protection holds.
  public static let purgeProtected = Self("purge-protected")
  /// A switch that can't be turned back.
  public static let irreversible = Self("irreversible")
}

enum VaultErrors {
  static func vaultUnknown(_ name: VaultName) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, .vaultUnknown, "There is no vault '\(name)'.", remedy: "Check the name, or create it first.")
  }

  static func keyUnknown(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, uri.version == nil ? .keyUnknown : .keyVersionUnknown, "There is no key '\(uri)'.",
      remedy: "Check the name and the version, or create the key.")
  }

  static func denied(_ caller: PrincipalID, _ permission: KeyPermission, _ target: String, rule: String)
    -> KeyCustodyError
  {
    KeyCustodyError(
      .denied, .accessDenied, "'\(caller)' may not '\(permission.rawValue)' on '\(target)' (decided by '\(rule)').",
      remedy: "The vault's administrator can grant the permission '\(permission.rawValue)' to '\(caller)'.")
  }

  static func disabled(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .keyDisabled, "The key version '\(uri)' is disabled.", remedy: "The key's owner can enable it again.")
  }

  static func deleted(_ uri: KeyURI, until moment: Timestamp) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .keyDeleted,
      "The key '\(uri)' is deleted and can be recovered until \(moment.seconds) (seconds since 1970).",
      remedy: "The key's owner can recover it.")
  }

  static func exists(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .alreadyExists, "The key '\(uri)' exists already, perhaps deleted and recoverable.",
      remedy: "Use another name, or rotate or recover the key.")
  }

  static func otherType(_ uri: KeyURI, _ key: KeyRecord) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType, "The key '\(uri)' is a \(key.role.rawValue) key of type \(key.type).",
      remedy: "Bring in a version of the same type and role, or use another name.")
  }

  static func purging(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .keyDeleted, "The key '\(uri)' is being purged and can't be brought back.",
      remedy: "Purge it again, which finishes the work; then the name is free.")
  }

  static func purgeProtected(until moment: Timestamp) -> KeyCustodyError {
    KeyCustodyError(
      .denied, .purgeProtected, "Operation 'purge' is not allowed: purge protection is on for this vault.",
      remedy: "Nobody can; the key may be purged from \(moment.seconds) on (seconds since 1970).")
  }

  static func changedMeanwhile(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .conflict, "The key '\(uri)' was changed by somebody else meanwhile; nothing was done.",
      remedy: "Look at the key, then try again.", retryAfter: .milliseconds(100))
  }

  static func outsideValidity(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .keyOutsideValidity, "The key version '\(uri)' is not yet, or no longer, valid.",
      remedy: "The key's owner can change its dates, or bind a newer version.")
  }
}
