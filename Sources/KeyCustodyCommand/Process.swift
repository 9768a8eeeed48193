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

  import Dispatch
  import Synchronization

  /// What the executable asks of the operating system.
  enum Process {
    /// No core file, and no reading of this process's memory by others of the same user: it holds keys.
    static func hardenAgainstDumps() {
      var none = rlimit(rlim_cur: 0, rlim_max: 0)
      unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
      // A core that is piped to a program has no limit, but needs a process that may be dumped: PR_SET_DUMPABLE (4).
      // By address, since Swift does not import functions of variable arguments.
      typealias Control = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
      if let symbol = unsafe dlsym(nil, "prctl") {
        _ = unsafe unsafeBitCast(symbol, to: Control.self)(4, 0, 0, 0, 0)
      }
      // Where Swift's backtracer is switched on it prints registers and the memory they point to when a program crashes.
      for number in [SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGQUIT] { signal(number, SIG_DFL) }
    }

    private static let received = Atomic<Int32>(0)

    /// The signal that asked the program to end, if one did.
    static var signalReceived: Int32? {
      let number = received.load(ordering: .acquiring)
      return number == 0 ? nil : number
    }

    private static let handler = Mutex<(@Sendable () -> Void)?>(nil)

    /// What a request to end does from now on, in place of what ``atTermination(_:)`` was given.
    static func setTerminationHandler(_ body: @escaping @Sendable () -> Void) { handler.withLock { $0 = body } }

    static func exit(_ status: Int32) -> Never { Glibc.exit(status) }

    /// Calls `body` when the program is asked to end, so that it can take its temporary files with it.
    ///
    /// A second signal, or 5 seconds, end it at once.
    static func atTermination(_ body: @escaping @Sendable () -> Void) {
      for number in [SIGINT, SIGTERM, SIGHUP] {
        // What the parent had ignored, as `nohup` does, stays ignored.
        var action = sigaction()
        unsafe sigaction(number, nil, &action)
        guard unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) != 1 else { continue }
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler {
          guard received.exchange(number, ordering: .acquiringAndReleasing) == 0 else { _exit(128 + number) }
          (handler.withLock { $0 } ?? body)()
          DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(5)) { _exit(128 + number) }
          // It lives as long as its handler is there.
          _ = source
        }
        source.resume()
      }
    }

    /// Whether standard error is a terminal, where a progress bar makes sense.
    static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

    /// The environment variables.
    static var variables: [String: String] { ProcessInfo.processInfo.environment }

    static func write(_ text: String, to descriptor: Int32) {
      if let running = Running.current { return running.printed.append(text, to: descriptor) }
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
