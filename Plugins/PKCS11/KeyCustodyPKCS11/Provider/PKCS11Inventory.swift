import CKeyCustodyPKCS11
import KeyCustody

/// The key versions on a token.
struct PKCS11Inventory: KeyInventory {
  let provider: PKCS11KeyProvider

  func versions(
    after version: KeyVersionID?, limit: Int
  ) async throws(KeyCustodyError) -> [KeyVersionID] {
    let all = try await provider.perform(CallContext(purpose: .administration), isLong: true) {
      (session) throws(PKCS11Failure) in try session.inventory()
    }
    return Array(all.drop { name in version.map { name <= $0 } ?? false }.prefix(max(0, limit)))
  }

  func leftovers() async throws(KeyCustodyError) -> [KeyLeftover] {
    try await provider.perform(CallContext(purpose: .administration), isLong: true) {
      (session) throws(PKCS11Failure) in try session.leftovers()
    }
  }
}

extension CryptokiSession {
  /// What processes that were killed left: objects without attributes, and public halves without their private ones.
  func leftovers() throws(PKCS11Failure) -> [KeyLeftover] {
    try surely { () throws(PKCS11Failure) in try debris() }
  }

  private func debris() throws(PKCS11Failure) -> [KeyLeftover] {
    var found: [KeyLeftover] = []
    var halves: [KeyVersionID: KeyHandles] = [:]
    // An object without attributes matches only a search without any.
    for handle in try find(Template([]), limit: .max) {
      let values = try readWhatThereIs(handle)
      guard let kind = CK_ULONG(octets: values[CKA_CLASS]), kind != CK_ULONG.max else {
        found.append(
          KeyLeftover(
            what: "an object without attributes (handle \(handle))", version: nil,
            remedy: "Its making was cut off. Remove it with the vendor's tool; it holds no key."))
        continue
      }
      guard let id = values[CKA_ID], let name = try? KeyVersionID(id.hexadecimal) else { continue }
      halves[name, default: KeyHandles()].add(handle, kind)
    }
    for (name, handles) in halves.sorted(by: { $0.key < $1.key }) where handles.isLeftover {
      found.append(
        KeyLeftover(
          what: "the public half of \(name), without its private half", version: name,
          remedy: "Its making or destruction was cut off. Destroying the key version again removes it."))
    }
    return found
  }

  /// SoftHSM answers CKR_ATTRIBUTE_VALUE_INVALID for every attribute of an object that has none.
  private func readWhatThereIs(_ handle: CK_OBJECT_HANDLE) throws(PKCS11Failure) -> [CK_ATTRIBUTE_TYPE: [UInt8]] {
    do throws(PKCS11Failure) { return try read([CKA_CLASS, CKA_ID], of: handle) } catch {
      guard error.cure == .none else { throw error }
      return [:]
    }
  }
}
