import KeyCustody
import Testing

@Suite("Event broadcaster", .timeLimit(.minutes(5)))
struct EventBroadcasterTests {
  @Test("Every reader gets every event from when it came, in order")
  func everyReader() async {
    let broadcaster = EventBroadcaster<Int>()
    broadcaster.send(0)
    let early = broadcaster.stream()
    broadcaster.send(1)
    let late = broadcaster.stream()
    broadcaster.send(2)
    broadcaster.finish()
    #expect(await all(early) == [1, 2])
    #expect(await all(late) == [2])
  }

  @Test("A slow reader loses the oldest, and keeps nobody else waiting")
  func slowReader() async {
    let broadcaster = EventBroadcaster<Int>(limit: 4)
    let stream = broadcaster.stream()
    for number in 0..<10 { broadcaster.send(number) }
    broadcaster.finish()
    #expect(await all(stream) == [6, 7, 8, 9])
  }

  @Test("After the end streams are empty and sending does nothing")
  func finished() async {
    let broadcaster = EventBroadcaster<Int>()
    broadcaster.finish()
    broadcaster.finish()
    broadcaster.send(1)
    #expect(await all(broadcaster.stream()) == [])
  }

  @Test("A reader that leaves harms nobody")
  func readerLeaves() async {
    let broadcaster = EventBroadcaster<Int>()
    let stays = broadcaster.stream()
    _ = broadcaster.stream()
    let leaves = broadcaster.stream()
    broadcaster.send(1)
    for await _ in leaves { break }
    let cancelled = Task { [stream = broadcaster.stream()] in await all(stream) }
    cancelled.cancel()
    _ = await cancelled.value
    broadcaster.send(2)
    broadcaster.finish()
    #expect(await all(stays) == [1, 2])
  }

  @Test("Readers, senders and the end may come at once")
  func concurrently() async {
    for _ in 0..<20 {
      let broadcaster = EventBroadcaster<Int>()
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<8 { group.addTask { _ = await all(broadcaster.stream()) } }
        for number in 0..<8 { group.addTask { broadcaster.send(number) } }
        group.addTask { broadcaster.finish() }
      }
    }
  }
}

private func all(_ stream: AsyncStream<Int>) async -> [Int] {
  var all: [Int] = []
  for await element in stream { all.append(element) }
  return all
}
