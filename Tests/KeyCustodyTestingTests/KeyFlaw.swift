/// What can be wrong with a key provider, and which behaviours must notice.
enum KeyFlaw: String, CaseIterable, Sendable {
  case emptyIdentity, freshIdentity, sameIdentity
  case claimsWhatItCannotDo, worksUnclaimed, importFails, claimsBackup, unexplainedFinding
  case renamesKeys, acceptsDuplicateNames, describesWrongly, sameFingerprint, acceptsAnyRole, generalKeysOnlyWrap,
    refusesOddLabels
  case unknownIsUnavailable, destroyOnlyHides, destroyIsForgotten, losesKeys, listsDestroyedKeys, ignoresListPosition
  case probeFails
  case refuses24Bytes, deterministicOAEP, acceptsAnySize, acceptsAnyAlgorithm, dropsAlgorithm, ignoresOAEPHash
  case ignoresRoles, tellsTheSecret
  case oneKeyForAll, ignoresFirstByte, tellsWrongLength, tellsBadPadding, failsAfterRefusal
  case signsAnyLength, signsWithAnyAlgorithm, shortensSignatures, signsSomethingElse
  case importsAnything, restoresAnotherKey, backsUpAnything, restoresDamage
  case sharedBuffer, racyGenerate, cancellationIsBadData, demandsDeadline, passedDeadlineIsFault
  case closedIsNotFound, secondCloseOpens, leavesStreamsOpen, closingIsFault

  /// The names of the behaviours that must notice it.
  var caughtBy: [String] {
    switch self {
    case .emptyIdentity: ["The identity names a kind and an instance"]
    case .freshIdentity: ["The identity survives reopening"]
    case .sameIdentity: ["Two backends have different identities"]
    case .claimsWhatItCannotDo:
      [
        "Every key type offered can be generated", "Every wrap algorithm offered wraps and unwraps",
        "Every signature algorithm offered signs",
      ]
    case .worksUnclaimed:
      [
        "A key type that is not offered is unsupported", "A wrap algorithm that is not offered is unsupported",
        "A signature algorithm that is not offered is unsupported",
      ]
    case .importFails: ["Import that is not offered is unsupported"]
    case .claimsBackup: ["Backup is there exactly when it is offered"]
    case .unexplainedFinding: ["What is absent or emulated says why or how"]
    case .renamesKeys: ["A key keeps the name its caller chose"]
    case .acceptsDuplicateNames: ["A name that is taken is refused and the old key is unharmed"]
    case .describesWrongly: ["A description tells type, role, origin, label and public key"]
    case .sameFingerprint: ["Fingerprints tell keys apart and stay the same"]
    case .acceptsAnyRole: ["A role that a key type can't play is refused"]
    case .generalKeysOnlyWrap: ["A general RSA key unwraps and signs"]
    case .refusesOddLabels: ["A label of odd characters or great length never fails"]
    case .unknownIsUnavailable: ["An unknown key version is notFound for every operation"]
    case .destroyOnlyHides: ["A destroyed key is gone and the others are unharmed"]
    case .destroyIsForgotten: ["A destroyed key is gone after reopening too"]
    case .losesKeys: ["Keys survive reopening and unwrap what was wrapped before"]
    case .listsDestroyedKeys: ["The inventory lists exactly the versions that exist"]
    case .ignoresListPosition: ["The inventory pages in order of names"]
    case .probeFails: ["The probe works with and without a good wrapping key"]
    case .refuses24Bytes: ["A256KW wraps 16, 24 and 32 bytes into 8 more"]
    case .deterministicOAEP: ["RSA-OAEP wraps 16 to 64 bytes, differently every time"]
    case .acceptsAnySize: ["A secret of the wrong size is refused"]
    case .acceptsAnyAlgorithm: ["An algorithm that does not fit the key's type is refused"]
    case .dropsAlgorithm: ["A wrapped secret names the version and algorithm used"]
    case .ignoresOAEPHash: ["RSA-OAEP and RSA-OAEP-256 are not interchangeable"]
    case .ignoresRoles: ["A signing key neither wraps nor unwraps", "A wrapping key does not sign"]
    case .tellsTheSecret: ["No error tells the secret it was about"]
    case .oneKeyForAll: ["A wrapped secret does not unwrap under another key"]
    case .ignoresFirstByte: ["A flipped bit in any byte is not authentic"]
    case .tellsWrongLength: ["Truncated, extended, empty and huge input is not authentic"]
    case .tellsBadPadding: ["All refusals to unwrap look the same"]
    case .failsAfterRefusal: ["The provider works after each refusal"]
    case .signsAnyLength: ["A digest of the wrong length is refused"]
    case .signsWithAnyAlgorithm: ["A signature algorithm that does not fit the key is refused"]
    case .shortensSignatures: ["An ECDSA signature is r and s, each as long as a coordinate"]
    case .signsSomethingElse: ["Signatures verify, over their digest and under their key alone"]
    case .importsAnything:
      [
        "An imported AES key unwraps the example of RFC 3394", "An imported RSA key unwraps what was wrapped elsewhere",
        "An imported EC key has its public key and signs", "Malformed key material is refused",
        "Key material of another type is refused", "A key whose parts don't fit together is refused",
        "An import under a name that is taken is refused",
      ]
    case .restoresAnotherKey: ["A backup brings a destroyed key back"]
    case .backsUpAnything: ["A key that can't be backed up says so"]
    case .restoresDamage: ["A damaged backup is refused"]
    case .sharedBuffer:
      ["64 concurrent unwraps each give their own secret", "Concurrent users of different keys don't mix them up"]
    case .racyGenerate: ["Of concurrent makers of one name exactly one wins"]
    case .cancellationIsBadData: ["Cancelled callers harm nobody"]
    case .demandsDeadline: ["Calls with a far deadline and with none are taken"]
    case .passedDeadlineIsFault: ["A call whose deadline has passed times out or works"]
    case .closedIsNotFound: ["After close every method is unavailable (closed)"]
    case .secondCloseOpens: ["Closing twice does no harm"]
    case .leavesStreamsOpen: ["Event streams end at close"]
    case .closingIsFault: ["Closing while calls run lets none of them go wrong"]
    }
  }
}
