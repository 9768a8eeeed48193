import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// The Merkle tree of RFC 6962 and its proofs.
struct AuditTreeTests {
  /// The entries of Certificate Transparency's reference tests, and the roots over the first 0 to 8 of them.
  private static let entries = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
  ]
  private static let roots = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
  ]

  /// The definition of RFC 6962, section 2.1, word for word.
  private static func naive(_ leaves: ArraySlice<[UInt8]>) throws -> [UInt8] {
    guard leaves.count > 1 else { return try leaves.first ?? #require([UInt8](hexadecimal: roots[0])) }
    var split = 1
    while split * 2 < leaves.count { split *= 2 }
    return try MerkleTree.node(naive(leaves.prefix(split)), naive(leaves.dropFirst(split)))
  }

  private static func leaves(_ count: Int) throws -> [[UInt8]] {
    try (0..<count).map { try MerkleTree.leaf(Array("entry \($0)".utf8)) }
  }

  @Test("The roots are those of Certificate Transparency's reference tests")
  func knownRoots() throws {
    var edge = MerkleEdge()
    #expect(try edge.root().hexadecimal == Self.roots[0])
    var leaves: [[UInt8]] = []
    for (index, entry) in Self.entries.enumerated() {
      let leaf = try MerkleTree.leaf(#require([UInt8](hexadecimal: entry)))
      leaves.append(leaf)
      try edge.append(leaf: leaf)
      #expect(try edge.root().hexadecimal == Self.roots[index + 1])
      #expect(try Self.naive(leaves[...]).hexadecimal == Self.roots[index + 1])
    }
  }

  @Test("The right edge gives the root of every size to 300, remembered and taken up again too")
  func edges() throws {
    let leaves = try Self.leaves(300)
    var edge = MerkleEdge()
    for (index, leaf) in leaves.enumerated() {
      edge = try #require(MerkleEdge(size: edge.size, hashes: edge.hashes))
      try edge.append(leaf: leaf)
      #expect(try edge.root() == Self.naive(leaves[...index]))
      #expect(edge.hashes.count == (index + 1).nonzeroBitCount)
    }
    #expect(MerkleEdge(size: 3, hashes: [leaves[0]]) == nil)
    #expect(MerkleEdge(size: 1, hashes: [[1, 2]]) == nil)
  }

  private static func checkpoint(_ leaves: ArraySlice<[UInt8]>) throws -> AuditCheckpoint {
    AuditCheckpoint(size: UInt64(leaves.count), root: try naive(leaves))
  }

  private static func collect(_ ranges: [Range<UInt64>], _ leaves: [[UInt8]]) throws -> [[UInt8]] {
    var collector = MerkleCollector(ranges)
    for (index, leaf) in leaves.enumerated() { try collector.add(leaf, at: UInt64(index)) }
    return try #require(collector.result)
  }

  @Test("Every inclusion proof to size 40 holds, and holds for nothing else")
  func inclusion() throws {
    let leaves = try Self.leaves(40)
    for size in 1...40 {
      let root = try Self.naive(leaves[..<size])
      for index in 0..<size {
        let ranges = MerkleProof.inclusion(of: UInt64(index), in: UInt64(size))
        let proof = try Self.collect(ranges, Array(leaves[..<size]))
        let holds = { (leaf: [UInt8], index: Int, proof: [[UInt8]]) in
          try MerkleProof.verify(leaf: leaf, index: UInt64(index), size: UInt64(size), root: root, proof: proof)
        }
        #expect(try holds(leaves[index], index, proof))
        #expect(try !holds(leaves[(index + 1) % 40], index, proof))
        #expect(try !holds(leaves[index], index, proof + [root]))
        if size > 1 {
          #expect(try !holds(leaves[index], index, Array(proof.dropLast())))
          #expect(try !holds(leaves[index], (index + 1) % size, proof))
        }
      }
    }
  }

  @Test("Every consistency proof to size 40 holds, and for no other beginning")
  func consistency() throws {
    let leaves = try Self.leaves(40)
    for size in 1...40 {
      let new = try Self.checkpoint(leaves[..<size])
      for old in 0...size {
        let ranges = MerkleProof.consistency(from: UInt64(old), to: UInt64(size))
        let proof = try Self.collect(ranges, Array(leaves[..<size]))
        let older = try Self.checkpoint(leaves[..<old])
        #expect(try MerkleProof.verify(from: older, to: new, proof: proof), "\(old) of \(size)")
        guard old > 0 else { continue }
        let other = AuditCheckpoint(size: UInt64(old), root: try MerkleTree.leaf([1]))
        #expect(try !MerkleProof.verify(from: other, to: new, proof: proof), "\(old) of \(size)")
        if old < size {
          #expect(try !MerkleProof.verify(from: older, to: other, proof: proof))
          #expect(try !MerkleProof.verify(from: older, to: new, proof: Array(proof.dropLast())))
        }
      }
    }
  }

  @Test("A verifier key has the ID that c2sp.org/signed-note gives ECDSA keys: known of a public log's key")
  func keyID() throws {
    let text =
      "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLO"
      + "C96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
    #expect(try AuditVerifierKey(text).description == text)
    #expect(throws: KeyCustodyError.self) { _ = try AuditVerifierKey(text.replacing("c0d23d6a", with: "c0d23d6b")) }
    #expect(throws: KeyCustodyError.self) { _ = try AuditVerifierKey("\(text)\n") }
  }
}

extension AuditCheckpoint {
  /// One that nobody signed.
  fileprivate init(size: UInt64, root: [UInt8]) { self.init(unsigned: "test", size: size, root: root) }
}
