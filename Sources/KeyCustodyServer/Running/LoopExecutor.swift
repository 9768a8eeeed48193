import NIOCore
import NIOPosix

/// Runs tasks on event loops: those of a connection on its own loop, so that no request waits for a thread to wake.
///
/// Between its loop and the threads of the concurrency runtime a request would go to and fro several times, each of
/// which costs as much as all that is asked of it. What blocks is on neither (``DedicatedThread``).
final class LoopExecutor: TaskExecutor {
  private let group: any EventLoopGroup
  /// The only loop; `nil`: the one that asks, or any.
  private let loop: (any EventLoop)?

  /// Whatever loop has the connection.
  init(_ group: any EventLoopGroup) {
    self.group = group
    loop = nil
  }

  /// One loop.
  init(_ loop: any EventLoop) {
    group = loop
    self.loop = loop
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    // It holds itself until the job is done, which may be the last that its task needed it for.
    (loop ?? MultiThreadedEventLoopGroup.currentEventLoop ?? group.any()).execute { [self] in
      unsafe job.runSynchronously(on: asUnownedTaskExecutor())
    }
  }
}
