import KeyCustody
import KeyCustodyCrypto

extension VaultAnswer {
  /// What a vault's refusal means in this package's own terms.
  ///
  /// Absence is believed only where the vault says that there is no such key: any other 404 is a wrong address.
  func error(_ vault: String, _ version: KeyVersionID?) -> KeyCustodyError {
    let key = version.map { "key version \($0)" } ?? "request"
    switch status {
    case 400 where code == "NotSupported":
      return KeyCustodyError(
        .unsupported, .notOffered, "The vault '\(vault)' does not offer what was asked of the \(key).",
        remedy: "Use another type of key or algorithm, or another vault.", diagnostic: diagnostic)
    // As with 403 below: what is before the vault may find a request bad in words of its own.
    case 400 where code == "BadParameter":
      return KeyCustodyError(
        .invalidInput, .malformed, "The vault '\(vault)' refuses the \(key) as malformed.",
        remedy: "Whoever runs the vault can see why in its log.", diagnostic: diagnostic)
    case 401:
      return KeyCustodyError(
        .credentialRejected, .wrongSecret, "The vault '\(vault)' refused the token.", diagnostic: diagnostic)
    // A gateway before the vault may say 403 too: that takes nothing away.
    case 403: return ["Forbidden", "AccessDenied"].contains(code) ? refusal(vault, key) : .notOfVault(vault, self)
    case 404 where code == "KeyNotFound":
      if let version { return .noSuchKey(version) }
      return KeyCustodyError(.notFound, .keyVersionUnknown, "There is no such key in the vault '\(vault)'.")
    case 409: return conflict(vault, version)
    case 413:
      return KeyCustodyError(
        .invalidInput, .wrongSize, "The vault '\(vault)' takes no request of that length.", diagnostic: diagnostic)
    case 429:
      return KeyCustodyError(
        .busy, .unreachable, "The vault '\(vault)' takes no more requests for now.",
        remedy: "Wait, or ask whoever runs it for a higher rate.", retryAfter: retryAfter ?? .seconds(1),
        diagnostic: diagnostic)
    case 408, 504:
      return KeyCustodyError(
        .timeout, .deadline, "The vault '\(vault)' was not done in time; it may have done what was asked.",
        retryAfter: retryAfter, diagnostic: diagnostic)
    case 500...599:
      return KeyCustodyError(
        .unavailable, .unreachable, "The vault '\(vault)' does not work now: it answers with status \(status).",
        remedy: "Whoever runs the vault can see why.", retryAfter: retryAfter, diagnostic: diagnostic)
    default: return .notOfVault(vault, self)
    }
  }

  private func refusal(_ vault: String, _ key: String) -> KeyCustodyError {
    switch inner {
    case "KeyDisabled":
      KeyCustodyError(
        .disabled, .keyDisabled, "The \(key) is switched off in the vault '\(vault)'.",
        remedy: "Whoever administers that vault can switch it on.", diagnostic: diagnostic)
    case "KeyOperationForbidden":
      KeyCustodyError(
        .invalidInput, .wrongKeyType, "The \(key) may not be used for this in the vault '\(vault)'.",
        remedy: "Use a key that was made for this.", diagnostic: diagnostic)
    case "ForbiddenByFirewall", "ForbiddenByConnection":
      KeyCustodyError(
        .denied, .networkRefused, "The network rules of the vault '\(vault)' keep this host out.",
        remedy: "Its administrator can let this host's address in.", diagnostic: diagnostic)
    default:
      KeyCustodyError(
        .denied, .accessDenied, "The vault '\(vault)' does not allow this program to do that with the \(key).",
        remedy:
          "Its administrator can grant get, list, create, import, update, delete, purge, wrapKey, unwrapKey and sign "
          + "on keys.", diagnostic: diagnostic)
    }
  }

  private func conflict(_ vault: String, _ version: KeyVersionID?) -> KeyCustodyError {
    guard inner == "ObjectIsDeletedButRecoverable", let version else {
      return KeyCustodyError(
        .busy, .conflict, "The vault '\(vault)' is changing that key just now.", retryAfter: retryAfter ?? .seconds(1),
        diagnostic: diagnostic)
    }
    return KeyCustodyError(
      .invalidInput, .alreadyExists,
      "The name of the key version \(version) belongs to a deleted key in the vault '\(vault)'.",
      remedy: "Choose another version; or purge the deleted key, where the vault allows that.", diagnostic: diagnostic)
  }

  /// Status, codes and the beginning of the message: what a vault writes there is nobody's secret.
  var diagnostic: String {
    let message = (json?["error"]?["message"]?.string ?? "").unicodeScalars.prefix(300).map {
      (0x20..<0x7f).contains($0.value) ? Character($0) : "?"
    }
    return "status \(status) \(TokenRequest.shown(code))/\(TokenRequest.shown(inner)): \(String(message))"
  }
}

extension KeyCustodyError {
  /// What no vault answers.
  static func notOfVault(_ vault: String, _ answer: VaultAnswer) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .badAnswer, "'\(vault)' does not answer as a vault does: status \(answer.status).",
      remedy: "Check the address: it must be a vault's own, with nothing before it. Redirections are not followed.",
      retryAfter: answer.retryAfter, diagnostic: answer.diagnostic)
  }

  /// A change was sent, and no answer came.
  static func unknownOutcome(_ vault: String, _ what: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .outcomeUnknown,
      "The connection to the vault '\(vault)' ended before it answered; it may have done what was asked.",
      remedy: "Look whether the key is there before asking again.", diagnostic: what)
  }

  /// A key of the vault's that is none of this provider's.
  static func unfit(_ name: String, _ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .badAnswer, "The vault's key '\(name)' can't be used: \(what).",
      remedy: "Whoever administers the vault can see what became of it.")
  }
}
