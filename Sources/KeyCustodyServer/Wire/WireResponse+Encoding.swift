import HTTPTypes
import KeyCustody

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension WireResponse {
  /// A body of JSON, as the command line prints the same value.
  init(encoding value: some Encodable) throws(WireError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else {
      throw WireError(.internalServerError, "InternalServerError", "The answer could not be written as JSON.")
    }
    self.init(.ok)
    headers[.contentType] = "application/json; charset=utf-8"
    body = Array(data)
  }
}
