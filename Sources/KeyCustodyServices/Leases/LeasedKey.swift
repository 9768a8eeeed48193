import KeyCustodyEnvelope

/// A root key that is leased: awake, which is ready for use, or at rest while nobody uses it.
struct LeasedKey: Sendable {
  /// One of the two is there.
  private(set) var awake: RootKey?
  private(set) var resting: RestingRootKey?

  init(_ key: RootKey) { awake = key }

  /// The key, woken if it rests; `nil` when it was destroyed.
  mutating func wake() -> RootKey? {
    if let awake { return awake.isDestroyed ? nil : awake }
    guard let key = try? resting?.woken() else { return nil }
    resting?.destroy()
    (awake, resting) = (key, nil)
    return key
  }

  /// Lets it rest; `false` where somebody else holds it, or works with it.
  mutating func rest() -> Bool {
    guard isKnownUniquelyReferenced(&awake), let rested = awake?.resting() else { return resting != nil }
    awake?.destroy()
    (awake, resting) = (nil, rested)
    return true
  }

  func destroy() {
    awake?.destroy()
    resting?.destroy()
  }
}
