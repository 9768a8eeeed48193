#if CommandLine
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif

  /// What the executable asks of the operating system.
  enum Process {
    /// No core file: it would hold keys.
    static func hardenAgainstDumps() {
      var none = rlimit(rlim_cur: 0, rlim_max: 0)
      unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    }

    /// Whether standard error is a terminal, where a progress bar makes sense.
    static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

    /// The environment variables.
    static var variables: [String: String] { ProcessInfo.processInfo.environment }

    static func write(_ text: String, to descriptor: Int32) {
      let bytes = Array(text.utf8)
      var done = 0
      while done < bytes.count {
        let wrote = unsafe bytes.withUnsafeBytes { buffer in
          unsafe Glibc.write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
        }
        guard wrote > 0 || errno == EINTR else { return }
        done += max(0, wrote)
      }
    }
  }
#endif
