/// First in, first out; both in constant time on average.
struct Queue<Element: Sendable>: Sendable {
  private var elements: [Element] = []
  private var first = 0

  var count: Int { elements.count - first }

  mutating func append(_ element: Element) { elements.append(element) }

  mutating func removeFirst() -> Element? {
    guard first < elements.count else { return nil }
    defer {
      first += 1
      if first > 64, first > elements.count / 2 {
        elements.removeFirst(first)
        first = 0
      }
    }
    return elements[first]
  }
}
