#if AzureKeyVault
  import KeyCustody
  import KeyCustodyTesting

  extension KeyProvider {
    /// Makes a key, the quickest kind unless told otherwise.
    @discardableResult
    func make(_ type: KeyType = .ec(.p256), _ role: KeyRole = .signing) async throws -> KeyDescription {
      let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: role)
      return try await generate(request, context: CallContext(purpose: .administration))
    }

    func look(_ version: KeyVersionID) async throws(KeyCustodyError) -> KeyDescription {
      try await describe(version, context: CallContext(purpose: .administration))
    }

    func sign(with key: KeyDescription, deadline: Duration? = nil) async throws(KeyCustodyError) -> [UInt8] {
      try await sign(
        [UInt8](repeating: 7, count: 32),
        with: SignRequest(
          version: key.version, algorithm: .es256, context: CallContext(purpose: .resource, deadline: deadline)))
    }

    func destroy(_ key: KeyDescription) async throws(KeyCustodyError) {
      try await destroy(key.version, context: CallContext(purpose: .administration))
    }
  }

  extension KeyCustodyError {
    /// For comparison: code and reason.
    static func like(_ code: Code, _ reason: Reason) -> KeyCustodyError { KeyCustodyError(code, reason, "") }
  }
#endif
