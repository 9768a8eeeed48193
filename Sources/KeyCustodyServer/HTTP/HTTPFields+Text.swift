import HTTPTypes

extension HTTPFields {
  /// The field of that name, given as text; a name that is none has no value and takes none.
  subscript(text name: String) -> String? {
    get { HTTPField.Name(name).flatMap { self[$0] } }
    set {
      guard let name = HTTPField.Name(name) else { return }
      self[name] = newValue
    }
  }
}
