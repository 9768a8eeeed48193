import KeyCustody

/// A secret on its way into work that runs on another thread.
final class SecretBox: Sendable {
  let bytes: SecretBytes

  init(copying source: borrowing SecretBytes) { bytes = source.copy() }
}
