import KeyCustody
import KeyCustodyCrypto

/// Where an issuer's keys come from: its own documents, or a file.
struct KeySetSource: Sendable {
  private enum Place: Sendable {
    case file(String)
    case issuer(String, IssuerConnection)
  }
  private let place: Place

  /// Reads what is needed to ask; asks nothing.
  init(_ settings: OIDCIssuer) throws(KeyCustodyError) {
    if let file = settings.keySetFile {
      place = .file(file)
    } else {
      place = .issuer(settings.issuer, try IssuerConnection(caFile: settings.caFile))
    }
  }

  /// Whether loading asks nobody.
  var isFile: Bool { if case .file = place { true } else { false } }

  /// The keys as they are now.
  ///
  /// - Throws: `unavailable`.
  func load() async throws(KeyCustodyError) -> JSONWebKeySet {
    switch place {
    case .file(let path):
      return try Self.keySet(SmallFile.read(path, limit: JSONWebKeySet.longest))
    case .issuer(let issuer, let connection):
      let discovery = try await connection.get(IssuerAddress.discovery(of: issuer), limit: JSONWebKeySet.longest)
      let address = try Self.keySetAddress(discovery, issuer: issuer)
      return try Self.keySet(await connection.get(address, limit: JSONWebKeySet.longest))
    }
  }

  /// What a discovery document says of the place of the keys, when it is the issuer's own.
  private static func keySetAddress(_ document: [UInt8], issuer: String) throws(KeyCustodyError) -> String {
    let metadata: JSON
    do throws(KeyCustodyError) { metadata = try JSON(document) } catch {
      throw .badAnswer("Its discovery document is not JSON.", error)
    }
    guard let named = metadata["issuer"]?.string, named.utf8.elementsEqual(issuer.utf8) else {
      throw .badAnswer("Its discovery document is another issuer's.")
    }
    guard let address = metadata["jwks_uri"]?.string,
      IssuerAddress.isFetchable(address, orLoopback: IssuerAddress.isUnprotected(issuer))
    else { throw .badAnswer("Its discovery document names no place of keys that may be asked.") }
    return address
  }

  private static func keySet(_ document: [UInt8]) throws(KeyCustodyError) -> JSONWebKeySet {
    do throws(KeyCustodyError) { return try JSONWebKeySet(document) } catch {
      throw .badAnswer("\(error.message)", error)
    }
  }
}
