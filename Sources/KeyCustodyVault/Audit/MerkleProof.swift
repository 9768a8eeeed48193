import KeyCustody

/// The proofs of RFC 6962, sections 2.1.1 and 2.1.2: which subtrees they are made of, and how they are checked.
enum MerkleProof {
  /// The subtrees whose roots prove that a tree of `size` entries has entry `index`, the lowest first.
  static func inclusion(of index: UInt64, in size: UInt64) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    var range = 0..<size
    while range.count > 1 {
      let middle = range.lowerBound + split(range)
      if index < middle {
        result.append(middle..<range.upperBound)
        range = range.lowerBound..<middle
      } else {
        result.append(range.lowerBound..<middle)
        range = middle..<range.upperBound
      }
    }
    return result.reversed()
  }

  /// The subtrees whose roots prove that a tree of `size` entries begins with that of `old` entries, the lowest first.
  static func consistency(from old: UInt64, to size: UInt64) -> [Range<UInt64>] {
    guard old > 0, old < size else { return [] }
    var result: [Range<UInt64>] = []
    var range = 0..<size
    while old < range.upperBound {
      let middle = range.lowerBound + split(range)
      if old <= middle {
        result.append(middle..<range.upperBound)
        range = range.lowerBound..<middle
      } else {
        result.append(range.lowerBound..<middle)
        range = middle..<range.upperBound
      }
    }
    // What is left is the right end of the old tree; where it is the whole of it, its root is known.
    if range.lowerBound > 0 { result.append(range) }
    return result.reversed()
  }

  /// The largest power of two below the length of a range.
  private static func split(_ range: Range<UInt64>) -> UInt64 {
    let last = range.upperBound - range.lowerBound - 1
    return 1 << UInt64(63 - last.leadingZeroBitCount)
  }

  /// Whether a proof shows that the entry of that hash is in the tree (RFC 9162, section 2.1.3.2).
  static func verify(
    leaf: [UInt8], index: UInt64, size: UInt64, root: [UInt8], proof: [[UInt8]]
  ) throws(KeyCustodyError) -> Bool {
    guard index < size else { return false }
    var (first, last) = (index, size - 1)
    var hash = leaf
    for sibling in proof {
      guard last > 0 else { return false }
      if !first.isMultiple(of: 2) || first == last {
        hash = try MerkleTree.node(sibling, hash)
        while first.isMultiple(of: 2) && first != 0 { (first, last) = (first / 2, last / 2) }
      } else {
        hash = try MerkleTree.node(hash, sibling)
      }
      (first, last) = (first / 2, last / 2)
    }
    return last == 0 && hash == root
  }

  /// Whether a proof shows that the newer tree begins with the older one (RFC 9162, section 2.1.4.2).
  static func verify(
    from old: AuditCheckpoint, to new: AuditCheckpoint, proof: [[UInt8]]
  ) throws(KeyCustodyError) -> Bool {
    guard old.size <= new.size else { return false }
    if old.size == new.size { return proof.isEmpty && old.root == new.root }
    if old.size == 0 { return proof.isEmpty }
    var path = proof
    if old.size.nonzeroBitCount == 1 { path.insert(old.root, at: 0) }
    guard let start = path.first else { return false }
    var (first, last) = (old.size - 1, new.size - 1)
    while !first.isMultiple(of: 2) { (first, last) = (first / 2, last / 2) }
    var (older, newer) = (start, start)
    for hash in path.dropFirst() {
      guard last > 0 else { return false }
      if !first.isMultiple(of: 2) || first == last {
        older = try MerkleTree.node(hash, older)
        newer = try MerkleTree.node(hash, newer)
        while first.isMultiple(of: 2) && first != 0 { (first, last) = (first / 2, last / 2) }
      } else {
        newer = try MerkleTree.node(newer, hash)
      }
      (first, last) = (first / 2, last / 2)
    }
    return last == 0 && older == old.root && newer == new.root
  }
}

/// Computes the roots of some subtrees while a tree's entries pass by in order.
struct MerkleCollector {
  private let wanted: [Range<UInt64>]
  private let order: [Int]
  private var next = 0
  private var edge = MerkleEdge()
  private var roots: [Int: [UInt8]] = [:]

  /// Of ranges that have no entry in common.
  init(_ ranges: [Range<UInt64>]) {
    wanted = ranges
    order = ranges.indices.sorted { ranges[$0].lowerBound < ranges[$1].lowerBound }
  }

  mutating func add(_ leaf: [UInt8], at index: UInt64) throws(KeyCustodyError) {
    guard next < order.count, wanted[order[next]].contains(index) else { return }
    try edge.append(leaf: leaf)
    guard index + 1 == wanted[order[next]].upperBound else { return }
    roots[order[next]] = try edge.root()
    edge = MerkleEdge()
    next += 1
  }

  /// The roots in the order asked for; `nil` when entries were missing.
  var result: [[UInt8]]? {
    let found = wanted.indices.compactMap { roots[$0] }
    return found.count == wanted.count ? found : nil
  }
}
