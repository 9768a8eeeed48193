package import KeyCustody
package import KeyCustodyTesting

/// The machine's random source, with the faults of the kit in it: all that lies beneath what is kept in memory.
package struct SteeredRandom: RandomSource {
  /// Makes the faults.
  package let faults = FaultSwitch([.refused, .outage, .hung, .crash])

  /// A random source without a fault so far.
  package init() {}

  /// Fills the buffer, or fails.
  package func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    if case .fail = faults.enter() {
      throw KeyCustodyError(.unavailable, .unreachable, "The random source does not answer.")
    }
    try SystemRandom().fill(&buffer)
  }
}
