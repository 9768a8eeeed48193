#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whether this run of the tests is one in FIPS mode: `make fips`.
public enum FIPSRun {
  /// The environment says so before anything else can choose.
  public static let isOn = unsafe getenv("KEYCUSTODY_FIPS").map { unsafe String(cString: $0) == "true" } ?? false
}
