#if ConfigurationSupport
  public import Configuration

  extension KeyCustodyConfiguration {
    /// A configuration read through swift-configuration: YAML, JSON, the environment, whatever the reader is made of.
    ///
    /// A reader can't list what it holds. So the names of sections are given in `keyProviders.names`,
    /// `policyStores.names`, `identityProviders.names` and `customerKeys.names`, and keys that nothing reads are not
    /// noticed.
    public convenience init(reader: ConfigReader) { self.init(sources: [ReaderSource(reader: reader)]) }
  }

  private struct ReaderSource: ConfigurationSource {
    let reader: ConfigReader

    func value(at path: [String], as kind: ConfigurationKind) -> ConfigurationValue? {
      let key = ConfigKey(path)
      switch kind {
      case .string: return reader.string(forKey: key).map { .string($0) }
      case .integer: return reader.int(forKey: key).map { .integer($0) }
      case .boolean: return reader.bool(forKey: key).map { .boolean($0) }
      case .strings: return reader.stringArray(forKey: key).map { .strings($0) }
      case .section: return nil
      }
    }
    func names(under path: [String]) -> [String]? { nil }
    func spelling(of path: [String]) -> String { path.joined(separator: ".") }
  }
#endif
