public import KeyCustody
import KeyCustodyCrypto

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

/// The last chunk does not open.
///
/// Key, context and all chunks before it were right, so it was cut, or altered.
func damagedEnd() -> KeyCustodyError {
  KeyCustodyError(
    .integrityFailure, .truncated,
    "The sealed object is cut off within its last chunk, or that was altered: the two can't be told apart.",
    remedy: "Fetch it again from where it is stored, or from a backup.")
}

/// One error for everything sealed that does not open.
func sealedNotAuthentic(_ what: String) -> KeyCustodyError {
  notAuthentic(
    what,
    remedy:
      "Check that the object's name, its class and every identifier are those it was sealed with. If they are, it was "
      + "altered since: restore it from a backup.")
}
