package import KeyCustody

/// Permissions by their names, in whatever case.
package enum PermissionNames {
  /// Reads them; `what` says on what they are.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  package static func read<Permission: RawRepresentable<String> & CaseIterable & Hashable>(
    _ names: [String], of what: String
  ) throws(KeyCustodyError) -> Set<Permission> {
    var found: Set<Permission> = []
    for name in names {
      let name = name.filter { $0 != " " }
      guard let permission = Permission.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() })
      else {
        throw KeyCustodyError(
          .invalidInput, .badName, "'\(name.prefix(40))' is not a permission on \(what).",
          remedy: "Use some of: \(Permission.allCases.map(\.rawValue).joined(separator: ", ")).")
      }
      found.insert(permission)
    }
    return found
  }
}
