public import KeyCustody

extension KeyCustodyError.Reason {
  /// The lease of a root key ended while it was in use.
  public static let leaseEnded = Self("lease-ended")
  /// A file was changed, cut, replaced or removed while it was read.
  public static let sourceChanged = Self("source-changed")
  /// The task was cancelled.
  public static let cancelled = Self("cancelled")
  /// The update came after the end, or the header is of another kind.
  public static let wrongState = Self("wrong-state")
}

/// What a root key answers once it was destroyed.
func leaseEnded() -> KeyCustodyError {
  KeyCustodyError(
    .unavailable, .leaseEnded, "The lease of this root key has ended, and the key was cleared.",
    remedy: "Ask for the key again; if its KEK was revoked, the owner of the KEK decides.")
}

/// The end of sealed data is missing.
func truncated(_ what: String) -> KeyCustodyError {
  KeyCustodyError(
    .integrityFailure, .truncated, "\(what) is cut off: its end is missing.",
    remedy: "Fetch it again from where it is stored, or from a backup.")
}
