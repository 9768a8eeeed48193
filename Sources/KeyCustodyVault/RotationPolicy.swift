public import KeyCustody

/// When a key gets a new version, and how long a version is valid (SEMANTICS V8).
public struct RotationPolicy: Sendable, Hashable, Codable {
  /// When something happens.
  public enum Trigger: Sendable, Hashable, Codable {
    /// So long after the newest version was made.
    case afterCreation(CalendarPeriod)
    /// So long before the newest version expires; never, where it does not.
    case beforeExpiry(CalendarPeriod)
  }
  /// What happens.
  public enum Action: String, Sendable, Hashable, Codable {
    /// A new version is made.
    case rotate = "Rotate"
    /// The host is told.
    case notify = "Notify"
  }
  /// Something that happens in the life of a version.
  public struct LifetimeAction: Sendable, Hashable, Codable {
    /// When.
    public var trigger: Trigger
    /// What.
    public var action: Action
    /// An action and its trigger.
    public init(_ action: Action, _ trigger: Trigger) {
      self.action = action
      self.trigger = trigger
    }
  }
  /// What happens, at most one of each action.
  public var lifetimeActions: [LifetimeAction]
  /// How long a version made by rotating is valid; `nil`: for ever.
  public var expiryTime: CalendarPeriod?
  /// When the policy was first set; `nil` for the default.
  public internal(set) var created: Timestamp?
  /// When it was last set; `nil` for the default.
  public internal(set) var updated: Timestamp?

  /// A policy.
  public init(lifetimeActions: [LifetimeAction] = [], expiryTime: CalendarPeriod? = nil) {
    self.lifetimeActions = lifetimeActions
    self.expiryTime = expiryTime
  }

  /// What holds for a key whose policy nobody has set: a notice 30 days before its expiry.
  public static var standard: RotationPolicy {
    get throws(KeyCustodyError) {
      RotationPolicy(lifetimeActions: [LifetimeAction(.notify, .beforeExpiry(try CalendarPeriod("P30D")))])
    }
  }

  /// Refuses what contradicts itself.
  ///
  /// - Throws: `invalidInput` (`bad-rotation-policy`).
  func validate() throws(KeyCustodyError) {
    func refuse(_ message: String, _ remedy: String) -> KeyCustodyError {
      KeyCustodyError(.invalidInput, .badRotationPolicy, message, remedy: remedy)
    }
    let week = 7
    if let expiryTime, expiryTime.nominalDays < 28 {
      throw refuse("A version is valid for at least 28 days.", "Lengthen expiryTime, or leave it out.")
    }
    guard Set(lifetimeActions.map(\.action)).count == lifetimeActions.count else {
      throw refuse("A policy has one action of a kind.", "Leave out all but one 'Rotate' and one 'Notify'.")
    }
    for item in lifetimeActions {
      switch item.trigger {
      case .afterCreation(let period):
        guard period.nominalDays >= week else {
          throw refuse("Nothing happens within 7 days of a version's creation.", "Lengthen timeAfterCreate.")
        }
        if let expiryTime, period.nominalDays + (item.action == .rotate ? week : 0) > expiryTime.nominalDays {
          throw refuse(
            "'\(item.action.rawValue)' would come after the version's expiry, or within 7 days of it.",
            "Shorten timeAfterCreate, or lengthen expiryTime.")
        }
      case .beforeExpiry(let period):
        guard period.nominalDays >= week else {
          throw refuse("What happens before an expiry happens 7 days before or earlier.", "Lengthen timeBeforeExpiry.")
        }
        guard item.action == .notify || expiryTime != nil else {
          throw refuse("A rotation before the expiry needs an expiry.", "Give expiryTime, or use timeAfterCreate.")
        }
        if let expiryTime, period.nominalDays + week > expiryTime.nominalDays {
          throw refuse(
            "'\(item.action.rawValue)' would come within 7 days of the version's creation.",
            "Shorten timeBeforeExpiry, or lengthen expiryTime.")
        }
      }
    }
  }

  /// When an action is due for a version; `nil`: never.
  func due(_ action: Action, for version: KeyVersionRecord) -> Timestamp? {
    guard let item = lifetimeActions.first(where: { $0.action == action }) else { return nil }
    switch item.trigger {
    case .afterCreation(let period): return period.after(version.created)
    case .beforeExpiry(let period): return version.expires.map(period.before)
    }
  }
}
