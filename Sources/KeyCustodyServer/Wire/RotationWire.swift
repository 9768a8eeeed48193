import KeyCustody
import KeyCustodyVault

/// Rotation policies as the wire has them.
enum RotationWire {
  /// Reads a policy; absent members mean an empty one.
  static func policy(_ body: WireBody) throws(WireError) -> RotationPolicy {
    var policy = RotationPolicy()
    for item in try body.bodies("lifetimeActions") ?? [] {
      guard let trigger = try item.body("trigger"), let action = try item.body("action") else {
        throw .badParameter("A lifetime action has a 'trigger' and an 'action'.")
      }
      let name = try action.requiredText("type")
      let known = [RotationPolicy.Action.rotate, .notify]
      guard let type = known.first(where: { $0.rawValue.lowercased() == name.lowercased() }) else {
        throw .badParameter("'type' of an action is not Rotate or Notify.")
      }
      let (after, before) = (try period(trigger, "timeAfterCreate"), try period(trigger, "timeBeforeExpiry"))
      switch (after, before) {
      case (let period?, nil): policy.lifetimeActions.append(.init(type, .afterCreation(period)))
      case (nil, let period?): policy.lifetimeActions.append(.init(type, .beforeExpiry(period)))
      default: throw .badParameter("A trigger has either 'timeAfterCreate' or 'timeBeforeExpiry'.")
      }
    }
    policy.expiryTime = try body.body("attributes").flatMap { (attributes) throws(WireError) in
      try period(attributes, "expiryTime")
    }
    return policy
  }

  private static func period(_ body: WireBody, _ name: String) throws(WireError) -> CalendarPeriod? {
    guard let text = try body.text(name) else { return nil }
    do throws(KeyCustodyError) { return try CalendarPeriod(text) } catch {
      throw .badParameter("'\(name)' is not a period of time as ISO 8601 writes it, like P90D.")
    }
  }

  /// A policy with its address.
  static func json(_ policy: RotationPolicy, of uri: KeyURI) -> JSON {
    let actions = policy.lifetimeActions.map { item in
      let trigger: (String, JSON?) =
        switch item.trigger {
        case .afterCreation(let period): ("timeAfterCreate", .string(period.description))
        case .beforeExpiry(let period): ("timeBeforeExpiry", .string(period.description))
        }
      return JSON(members: [
        ("trigger", JSON(members: [trigger])), ("action", JSON(members: [("type", .string(item.action.rawValue))])),
      ])
    }
    return JSON(members: [
      ("id", .string("\(uri.with(version: nil))/rotationpolicy")), ("lifetimeActions", .array(actions)),
      (
        "attributes",
        JSON(members: [
          // Left out where there is none: some clients read no null there.
          ("expiryTime", (policy.expiryTime?.description).map(JSON.string)),
          ("created", policy.created.map { .integer($0.seconds) }),
          ("updated", policy.updated.map { .integer($0.seconds) }),
        ])
      ),
    ])
  }
}
