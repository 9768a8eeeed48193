import Testing

/// The fault module on SoftHSM, one test at a time.
///
/// Every test loads and starts a copy of SoftHSM of its own, and all copies set up and clean up the same OpenSSL: at once,
/// they end the process now and then.
@Suite("Fault module", .serialized)
enum FaultModuleTests {}
