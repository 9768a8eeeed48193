#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Every function of every library bound before the program begins.
///
/// A function that is bound at its first call has the dynamic linker save the vector registers on the stack, where a
/// secret that was copied just before stays until something else is written there. `-z now` sees to the executable alone,
/// not to the libraries of the Swift runtime.
package enum EagerBinding {
  /// Starts the program again with everything bound, unless it was started so; comes back where that can't be done.
  ///
  /// Call it first thing in `main`: it is the same process with the same arguments, and nothing else is kept.
  package static func restart() {
    guard unsafe getenv("LD_BIND_NOW") == nil else { return }
    unsafe setenv("LD_BIND_NOW", "1", 1)
    var words: [UnsafeMutablePointer<CChar>?] = unsafe CommandLine.arguments.map { unsafe strdup($0) } + [nil]
    unsafe execv("/proc/self/exe", &words)
    unsafe words.forEach { unsafe free($0) }
  }
}
