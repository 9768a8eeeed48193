public import KeyCustody

extension KeyCustodyError.Reason {
  /// The key is soft-deleted.
  public static let keyDeleted = Self("key-deleted")
  /// Outside the key version's validity.
  public static let keyOutsideValidity = Self("key-outside-validity")
  /// No such vault.
  public static let vaultUnknown = Self("vault-unknown")
  /// The vault still holds keys or secrets.
  public static let vaultNotEmpty = Self("vault-not-empty")
  /// No such key.
  public static let keyUnknown = Self("key-unknown")
  /// A version that the vault has, and its key provider has not.
  public static let keyMaterialMissing = Self("key-material-missing")
  /// Purge protection holds.
  public static let purgeProtected = Self("purge-protected")
  /// An allowed operation that no key of that type and role can do.
  public static let keyOperationImpossible = Self("key-operation-impossible")
  /// The name belongs to something deleted that can be recovered.
  public static let deletedButRecoverable = Self("deleted-but-recoverable")
  /// The name of a request that stood for another change.
  public static let requestReused = Self("request-reused")
  /// Too many tags, or too long ones.
  public static let badTags = Self("bad-tags")
  /// A rotation policy that contradicts itself.
  public static let badRotationPolicy = Self("bad-rotation-policy")
  /// The only version of a key.
  public static let lastVersion = Self("last-version")
  /// More versions of a key or a secret than fit into its record.
  public static let tooManyVersions = Self("too-many-versions")
  /// No such secret.
  public static let secretUnknown = Self("secret-unknown")
  /// The secret's version is switched off.
  public static let secretDisabled = Self("secret-disabled")
  /// The secret is soft-deleted.
  public static let secretDeleted = Self("secret-deleted")
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

  static func materialMissing(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, .keyMaterialMissing, "The key '\(uri)' is in the vault, but no longer in its key provider.",
      remedy: "The vault's administrator can restore the key provider from a copy that has it.")
  }

  static func internalKeyMissing(_ vault: VaultName) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged,
      "The key under which the vault '\(vault)' keeps secrets and backups is no longer in its key provider.",
      remedy: "The vault's administrator can restore the key provider from a copy that has it.")
  }

  static func denied(
    _ caller: String, _ permission: Permission, _ target: String, rule: String, _ context: CallContext
  ) -> KeyCustodyError {
    if rule == "network" {
      return KeyCustodyError(
        .denied, .networkRefused,
        "'\(target)' can't be reached from '\(context.clientAddress ?? "this process")': the vault's network rules.",
        remedy: "The vault's administrator can add the address to them, or let trusted services bypass them.")
    }
    return KeyCustodyError(
      .denied, .accessDenied, "'\(caller)' may not '\(permission)' on '\(target)' (decided by '\(rule)').",
      remedy: "The vault's administrator can grant the permission '\(permission)' to '\(caller)'.")
  }

  static func forbidden(_ use: KeyUse, _ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .denied, .keyOperationForbidden, "Operation '\(use.rawValue)' is not permitted on the key '\(uri)'.",
      remedy: "The key's owner can add it to the version's allowed operations, where its type can do it.")
  }

  static func recoverable(_ address: String, until moment: Timestamp) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .deletedButRecoverable,
      "'\(address)' is deleted and can be recovered until \(moment.seconds) (seconds since 1970): its name is taken.",
      remedy: "Use another name, or recover it; or purge it, where the vault allows that.")
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
      .invalidInput, .alreadyExists, "The key '\(uri)' exists already.",
      remedy: "Use another name, or rotate the key.")
  }

  static func notBackupable(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType, "The versions of the key '\(uri)' are made so that they can't be backed up.",
      remedy: "Leave 'exportable' out, or use another name.")
  }

  static func purging(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .keyDeleted, "The key '\(uri)' is being purged and can't be brought back.",
      remedy: "Purge it again, which finishes the work; then the name is free.")
  }

  static func lastVersion(_ uri: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .lastVersion, "'\(uri)' is the only version of its key.",
      remedy: "Delete the key itself, or rotate it first.")
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
