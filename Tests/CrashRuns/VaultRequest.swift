import KeyCustody
import NIOHTTP1

/// What is sent to a vault.
struct VaultRequest: Sendable {
  let method: HTTPMethod
  let path: String
  let body: JSON?

  init(_ method: HTTPMethod, _ path: String, _ body: JSON? = nil) {
    (self.method, self.path, self.body) = (method, path, body)
  }
}
