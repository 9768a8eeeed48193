import NIOCore
import Synchronization

/// Counts connections by the address they come from, so that one peer does not take them all.
final class ConnectionGate: Sendable {
  private let most: Int
  private let counts = Mutex<[String: Int]>([:])

  init(most: Int) { self.most = most }

  /// Lets a connection in, if its address has not too many.
  func enter(_ address: String) -> Bool {
    counts.withLock { counts in
      let count = counts[address] ?? 0
      guard count < most else { return false }
      counts[address] = count + 1
      return true
    }
  }

  /// A connection that was let in has ended.
  func leave(_ address: String) {
    counts.withLock { counts in
      let count = (counts[address] ?? 1) - 1
      counts[address] = count == 0 ? nil : count
    }
  }
}

/// Asks the gate for its connection, and closes it where it is not let in: before any handshake.
final class ConnectionGateHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny
  private let gate: ConnectionGate
  /// The address that this connection counts for.
  private var entered: String?

  init(_ gate: ConnectionGate) { self.gate = gate }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { enter(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    enter(context)
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    leave()
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) { leave() }

  private func enter(_ context: ChannelHandlerContext) {
    guard entered == nil, let address = context.channel.remoteAddress?.ipAddress else { return }
    guard gate.enter(address) else { return context.close(promise: nil) }
    entered = address
  }

  private func leave() {
    if let entered { gate.leave(entered) }
    entered = nil
  }
}
