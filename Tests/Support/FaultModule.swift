#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An instance of the project's PKCS#11 fault module on a real module of its own, to be named where a module is asked for.
///
/// Both are copies of the libraries in a folder of their own, so what one test injects or counts is never another's. The
/// rules and commands stand in `key_custody_fault_module.h`.
@safe
public final class FaultModule: Sendable {
  // Safe: the library that the functions lie in is never unloaded.
  /// The module's path.
  ///
  /// It can be opened as long as this object lives; what is open stays open.
  public let path: String
  /// The file with the module to forward to and the first rules.
  public var configuration: String { "\(path).conf" }

  private typealias CommandFunction = @convention(c) @Sendable (UnsafePointer<CChar>?) -> Int32
  private typealias ErrorFunction = @convention(c) @Sendable () -> UnsafePointer<CChar>?
  private typealias TextFunction = @convention(c) @Sendable (UnsafeMutablePointer<CChar>?, Int) -> Int

  private let folder: TemporaryFolder
  private let commandFunction: CommandFunction
  private let errorFunction: ErrorFunction
  private let reportFunction: TextFunction
  private let traceFunction: TextFunction

  /// Copies the libraries and loads the copy.
  ///
  /// - Parameters:
  ///   - rules: the lines that hold from the start. A wrong one is found by C_Initialize, as ``Report/configError`` tells.
  ///   - real: the module to forward to, used as it is; by default a copy of SoftHSM.
  public init(rules: [String] = [], real: String? = nil) throws {
    folder = try TemporaryFolder()
    path = try folder.write(Self.library(), to: Self.name)
    let module =
      if let real { real } else {
        try folder.write(SoftHSM.contents(of: try SoftHSM.shared.installedModule()), to: "libreal.so")
      }
    let lines = ["module \(module)"] + rules
    try folder.write(Array(lines.joined(separator: "\n").utf8), to: "\(Self.name).conf")
    guard let handle = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw FaultModuleError(unsafe dlerror().map { unsafe String(cString: $0) } ?? "dlopen")
    }
    func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
      guard let symbol = unsafe dlsym(handle, name) else { throw FaultModuleError("The library has no \(name).") }
      return unsafe unsafeBitCast(symbol, to: type)
    }
    unsafe commandFunction = try symbol("kc_fault_command", as: CommandFunction.self)
    unsafe errorFunction = try symbol("kc_fault_error", as: ErrorFunction.self)
    unsafe reportFunction = try symbol("kc_fault_report", as: TextFunction.self)
    unsafe traceFunction = try symbol("kc_fault_trace", as: TextFunction.self)
  }

  private static let name = "libKeyCustodyFaultModule.so"

  private static func library() throws -> [UInt8] {
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let library = URL(filePath: executable).deletingLastPathComponent().appending(path: name)
      .path(percentEncoded: false)
    let bytes = SoftHSM.contents(of: library)
    guard !bytes.isEmpty else {
      throw FaultModuleError("'\(library)' is missing: build all targets, with 'swift build --build-tests'.")
    }
    return bytes
  }

  /// Adds a rule or runs a command.
  ///
  /// - Throws: ``FaultModuleError`` with the reason when the line is wrong.
  public func command(_ line: String) throws {
    guard unsafe commandFunction(line) == 0 else {
      throw FaultModuleError(unsafe errorFunction().map { unsafe String(cString: $0) } ?? "")
    }
  }

  /// What the module has counted.
  public func report() throws -> Report {
    let text = unsafe Self.text(reportFunction)
    return try JSONDecoder().decode(Report.self, from: Data(text.utf8))
  }

  /// The last calls, oldest first, since `trace on`.
  public func trace() -> [Call] {
    let text = unsafe Self.text(traceFunction)
    return text.split(separator: "\n").map { line in
      let words = line.split(separator: " ")
      let answer = words.last.map(String.init)
      return Call(function: String(words[0]), answer: answer == "-" ? nil : answer)
    }
  }

  private static func text(_ function: TextFunction) -> String {
    // What is counted meanwhile may make it longer.
    var size = function(nil, 0) + 256
    while true {
      var buffer = [CChar](repeating: 0, count: size)
      let length = unsafe function(&buffer, size)
      if length < size { return String(decoding: buffer.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self) }
      size = length + 256
    }
  }
}

/// Why a fault module can't be had, or does not take a line.
public struct FaultModuleError: Error, CustomStringConvertible {
  /// The reason.
  public let description: String

  init(_ description: String) { self.description = description }
}

extension FaultModule {
  /// A call of the trace.
  public struct Call: Sendable, Hashable {
    /// The function's name.
    public let function: String
    /// What it answered; `nil` while it has not.
    public let answer: String?

    /// A call as a test expects it.
    public init(function: String, answer: String?) {
      self.function = function
      self.answer = answer
    }
  }

  /// What the module counted, for all processes that share its pages.
  public struct Report: Sendable, Decodable {
    /// All calls.
    public let calls: Int
    /// Calls by function.
    public let functions: [String: Int]
    /// Injections by action.
    public let injected: [String: Int]
    /// Calls that entered a session while another call was in it.
    public let concurrentSessionUse: Int
    /// Calls from a forked child that did not call C_Initialize.
    public let usedAfterFork: Int
    /// Calls before C_Initialize or after C_Finalize.
    public let afterFinalize: Int
    /// C_Finalize while another thread was inside a call.
    public let finalizeWhileInside: Int
    /// Sessions that the caller had open at C_Finalize and never asked to close.
    public let leakedAtFinalize: Int
    /// Sessions open at C_Finalize because an injected fault refused to close them.
    public let refusedAtFinalize: Int
    /// The most sessions open at a time.
    public let maxOpenSessions: Int
    /// C_Login that succeeded.
    public let logins: Int
    /// C_Login that did not, other than for being logged in already.
    public let loginFailures: Int
    /// Calls with a session that was never given out, or that the caller closed.
    public let unknownSessionHandle: Int
    /// Sessions that this process has open.
    public let openSessions: Int
    /// Calls in progress in this process.
    public let inside: Int
    /// Rules in force.
    public let rules: Int
    /// The process that initialised this copy, as this process sees it; 0 when it is finalised.
    public let pid: Int32
    /// `no`, or how the token is gone.
    public let vanished: String
    /// Why C_Initialize can't work; empty when it can.
    public let configError: String

    private enum CodingKeys: String, CodingKey {
      case calls, functions, injected, inside, rules, pid, vanished, logins
      case concurrentSessionUse = "concurrent_session_use"
      case usedAfterFork = "used_after_fork"
      case afterFinalize = "after_finalize"
      case finalizeWhileInside = "finalize_while_inside"
      case leakedAtFinalize = "leaked_at_finalize"
      case refusedAtFinalize = "refused_at_finalize"
      case maxOpenSessions = "max_open_sessions"
      case loginFailures = "login_failures"
      case unknownSessionHandle = "unknown_session_handle"
      case openSessions = "open_sessions"
      case configError = "config_error"
    }
  }
}
