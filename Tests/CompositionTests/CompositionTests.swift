import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// The whole life of a resource under a customer's key, on every composition of backends: nothing in here knows which.
@Suite("Independence of where keys live")
struct CompositionTests {
  @Test(
    "E1-E3, E5, E7, E8, E10, E11, E13, E14, V2-V4, V6, V11, I2-I5: one scenario", arguments: Composition.all)
  func scenario(_ composition: Composition) async throws {
    do {
      var scenario = try await Scenario(composition)
      try await scenario.serviceManaged()
      try await scenario.bindingIsChecked()
      try await scenario.enable()
      try await scenario.swapsAndDamage()
      try await scenario.reopen()
      try await scenario.rotate()
      try await scenario.useAnotherKey()
      for way in Revocation.allCases { try await scenario.revoke(way) }
      try await scenario.switchIdentityOff()
      try await scenario.disable()
      try await scenario.destroyOldKey()
      try await scenario.end()
    } catch let error as KeyCustodyError {
      Issue.record("\(error.debugDescription)")
    }
  }
}

/// The ways in which a customer cuts the service off.
enum Revocation: String, CaseIterable, Sendable {
  case policy
  case permission
  case disable
  case delete
}
