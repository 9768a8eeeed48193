import KeyCustody
import KeyCustodyCrypto

/// The hashes of a Merkle tree as RFC 6962, section 2.1, has them, with SHA-256.
enum MerkleTree {
  static let hashLength = 32

  /// The hash of an entry: SHA-256(00 ‖ entry).
  static func leaf(_ entry: [UInt8]) throws(KeyCustodyError) -> [UInt8] { try Hashing.digest(.sha256, [0], entry) }

  /// The hash above two others: SHA-256(01 ‖ left ‖ right).
  static func node(_ left: [UInt8], _ right: [UInt8]) throws(KeyCustodyError) -> [UInt8] {
    try Hashing.digest(.sha256, [1], left, right)
  }
}

/// The right edge of a tree: the roots of its largest whole subtrees, from left to right.
///
/// All that is needed of a tree to go on with it, and to tell its root: 32 bytes for each bit of its size.
struct MerkleEdge: Sendable, Hashable {
  private(set) var size: UInt64 = 0
  private(set) var hashes: [[UInt8]] = []

  /// The empty tree.
  init() {}

  /// A remembered edge; `nil` when it is none of that size.
  init?(size: UInt64, hashes: [[UInt8]]) {
    guard hashes.count == size.nonzeroBitCount, hashes.allSatisfy({ $0.count == MerkleTree.hashLength }) else {
      return nil
    }
    self.size = size
    self.hashes = hashes
  }

  /// Adds an entry's hash at the right.
  mutating func append(leaf: [UInt8]) throws(KeyCustodyError) {
    var hash = leaf
    var whole = size
    while !whole.isMultiple(of: 2), let left = hashes.popLast() {
      hash = try MerkleTree.node(left, hash)
      whole /= 2
    }
    hashes.append(hash)
    size += 1
  }

  /// The root of the tree.
  func root() throws(KeyCustodyError) -> [UInt8] {
    guard var hash = hashes.last else { return try Hashing.sha256([]) }
    for left in hashes.dropLast().reversed() { hash = try MerkleTree.node(left, hash) }
    return hash
  }
}
