import CBaseline
import Crypto
import KeyCustodyServices

/// Records: two layers through the async interface of a resource whose lease is alive.
func records(_ resource: ProtectedResource) async throws {
  for (size, name) in [(100, "100B"), (1024, "1KiB")] {
    let count = isQuick ? 2_000 : 50_000
    let value = [UInt8](repeating: 0x5a, count: size)
    let sealed = try await resource.seal(value, as: "record")
    guard try await resource.open(sealed, as: "record") == value else {
      throw Unexpected(description: "What was sealed did not open.")
    }
    let seal = { try await time(count) { for _ in 0..<count { _ = try await resource.seal(value, as: "record") } } }
    let open = { try await time(count) { for _ in 0..<count { _ = try await resource.open(sealed, as: "record") } } }

    try await row("R4", "seal-two-layers-\(name)", "evp", ours: seal) {
      Double(baseline_seal(size, 2, Int32(count))) / Double(count)
    }
    try await row("R4", "open-two-layers-\(name)", "evp", ours: open) {
      Double(baseline_open(size, 2, Int32(count))) / Double(count)
    }

    // The simplest thing somebody would write instead: AES-GCM of swift-crypto, twice, with the same context.
    let (inner, outer) = (SymmetricKey(size: .bits256), SymmetricKey(size: .bits256))
    let context = Array("bench/long-term/record".utf8)
    let nested: () throws -> [UInt8] = {
      let box = try AES.GCM.seal(value, using: inner, authenticating: context)
      guard let combined = box.combined else { throw Unexpected(description: "swift-crypto gave no combined form.") }
      guard let sealed = try AES.GCM.seal(combined, using: outer, authenticating: context).combined else {
        throw Unexpected(description: "swift-crypto gave no combined form.")
      }
      return [UInt8](sealed)
    }
    let theirs = try nested()
    try await row("R4", "seal-two-layers-\(name)", "swift-crypto", ours: seal) {
      try await time(count) { for _ in 0..<count { _ = try nested() } }
    }
    try await row("R4", "open-two-layers-\(name)", "swift-crypto", ours: open) {
      try await time(count) {
        for _ in 0..<count {
          let middle = try AES.GCM.open(AES.GCM.SealedBox(combined: theirs), using: outer, authenticating: context)
          _ = try AES.GCM.open(AES.GCM.SealedBox(combined: middle), using: inner, authenticating: context)
        }
      }
    }
  }
}
