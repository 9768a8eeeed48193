/// The contract of `KeyProvider` as named behaviours.
///
/// A provider conforms when none of them is violated. Those that do not concern a backend say why not.
public enum KeyProviderConformance {
  /// Every behaviour.
  public static let all: [ConformanceBehavior<KeyProviderSubject>] =
    opening + keys + wrapping + tampering + signing + importing + concurrency + closing
}
