import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

extension VaultRoutes {
  /// `/keys/NAME[/VERSION]/OPERATION`: what a key does.
  func use(_ uri: KeyURI, _ operation: String) async throws(WireError) -> WireResponse {
    switch operation {
    case "wrapkey", "encrypt": try await protect(uri, operation)
    case "unwrapkey", "decrypt": try await reveal(uri, operation)
    case "sign": try await sign(uri)
    case "verify": try await verify(uri)
    default: throw Self.unknown
    }
  }

  private static let wrapAlgorithms: [WrapAlgorithm] = [.rsaOAEP, .rsaOAEP256, .aes256KW]

  private func wrapAlgorithm(_ body: WireBody) throws(WireError) -> WrapAlgorithm {
    try Self.wrapAlgorithm(body, "alg")
  }

  /// A member that names an algorithm; what is none is not repeated.
  static func wrapAlgorithm(_ body: WireBody, _ member: String) throws(WireError) -> WrapAlgorithm {
    let name = try body.requiredText(member)
    guard let found = Self.wrapAlgorithms.first(where: { $0.rawValue == name }) else {
      throw .badParameter(
        "'\(member)' is not one of \(Self.wrapAlgorithms.map(\.rawValue).joined(separator: ", ")), which are offered here."
      )
    }
    return found
  }

  private func signatureAlgorithm(_ body: WireBody) throws(WireError) -> SignatureAlgorithm {
    guard let found = SignatureAlgorithm(rawValue: try body.requiredText("alg")) else {
      throw .badParameter(
        "'alg' is not one of \(SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    return found
  }

  private func protect(_ uri: KeyURI, _ operation: String) async throws(WireError) -> WireResponse {
    let body = try body()
    let (algorithm, value) = (try wrapAlgorithm(body), try body.requiredBytes("value"))
    let wrapped = try await asked { () async throws(KeyCustodyError) in
      let secret = SecretBytes(copying: value)
      return operation == "wrapkey"
        ? try await vaults.wrap(secret, with: uri, algorithm: algorithm, as: caller, context: context)
        : try await vaults.encrypt(secret, with: uri, algorithm: algorithm, as: caller, context: context)
    }
    return answer(wrapped.key, wrapped.bytes)
  }

  private func reveal(_ uri: KeyURI, _ operation: String) async throws(WireError) -> WireResponse {
    let body = try body()
    let (algorithm, value) = (try wrapAlgorithm(body), try body.requiredBytes("value"))
    let (key, bytes) = try await asked { () async throws(KeyCustodyError) in
      let revealed =
        operation == "unwrapkey"
        ? try await vaults.unwrapped(value, with: uri, algorithm: algorithm, as: caller, context: context)
        : try await vaults.decrypted(value, with: uri, algorithm: algorithm, as: caller, context: context)
      // Into the answer's text, which no care of ours can clear.
      return (revealed.key, revealed.secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } })
    }
    return answer(key, bytes)
  }

  private func sign(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let body = try body()
    let (algorithm, digest) = (try signatureAlgorithm(body), try body.requiredBytes("value"))
    try check(digest, algorithm)
    let signed = try await asked { () async throws(KeyCustodyError) in
      try await vaults.sign(digest, with: uri, algorithm: algorithm, as: caller, context: context)
    }
    return answer(signed.key, signed.signature)
  }

  private func verify(_ uri: KeyURI) async throws(WireError) -> WireResponse {
    let body = try body()
    let algorithm = try signatureAlgorithm(body)
    let (digest, signature) = (try body.requiredBytes("digest"), try body.requiredBytes("value"))
    try check(digest, algorithm)
    let verified = try await asked { () async throws(KeyCustodyError) in
      try await vaults.verify(signature, over: digest, with: uri, algorithm: algorithm, as: caller, context: context)
    }
    return WireResponse(.ok, ["value": .bool(verified.isValid)])
  }

  private func check(_ digest: [UInt8], _ algorithm: SignatureAlgorithm) throws(WireError) {
    guard digest.count == algorithm.digestLength else {
      throw .badParameter(
        "Invalid length of 'value': \(digest.count) bytes. \(algorithm.rawValue) takes a digest of "
          + "\(algorithm.digestLength) bytes.")
    }
  }

  private func answer(_ key: KeyURI, _ value: [UInt8]) -> WireResponse {
    WireResponse(.ok, JSON(members: [("kid", .string(key.description)), ("value", .string(value.base64URL))]))
  }
}
