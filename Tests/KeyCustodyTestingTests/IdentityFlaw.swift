/// What can be wrong with an identity provider, and which behaviours must notice.
enum IdentityFlaw: String, CaseIterable, Sendable {
  case emptyIdentity, forgetsKind, inventsPrincipals, overwritesPrincipals, caseMatters, ignoresTenant
  case ignoresSwitch, secondDeleteFails, issuesToAnyone, racyCreate, silent
  case wrongMethod, tellsUnknownFromWrong, apiKeysIgnoreSwitch, keepsCredentials, ignoresSecretExpiry, oneKeyOnly
  case keepsOldKeys, shortSecrets, comparesPrefixes, takesAnyKind, echoesSecrets, sharedResult
  case endlessTokens, ignoresAudience, ignoresExpiry, ignoresNotBefore, anyLifetime, issuesWhenOff, sharedSigningKey
  case ignoresSignature, lenientBase64, stripsCharacters, acceptsUnsigned, signsPartsAlone, malformedIsInvalid,
    tellsExpired
  case forgetsResource, twoManagedIdentities, keepsManagedIdentities, managedIgnoreSwitch, managedSecrets
  case managedInFirstTenant
  case forgetsOnReopen, revivesOnReopen, worksClosed, leavesStreamsOpen

  /// The names of the behaviours that must notice it.
  var caughtBy: [String] {
    switch self {
    case .emptyIdentity: ["The identity names a kind and an instance"]
    case .forgetsKind: ["A principal made can be looked up"]
    case .inventsPrincipals: ["Looking up who is not there gives nothing"]
    case .overwritesPrincipals: ["A principal that exists is not made again"]
    case .caseMatters: ["Names are compared without case"]
    case .ignoresTenant: ["Tenants keep principals of the same name apart"]
    case .ignoresSwitch: ["Switching off and on is recorded"]
    case .secondDeleteFails: ["Deleting removes, and removing again does nothing"]
    case .issuesToAnyone: ["Nothing is issued for who is not there"]
    case .racyCreate: ["Of concurrent makers of one principal exactly one wins"]
    case .silent: ["Events tell of switching off, switching on and deleting"]
    case .wrongMethod: ["A client secret authenticates its principal"]
    case .tellsUnknownFromWrong: ["Wrong secret, unknown, switched-off and deleted look the same"]
    case .apiKeysIgnoreSwitch: ["Whoever is switched off is rejected with every credential, and taken again when on"]
    case .keepsCredentials: ["A deleted principal's credentials stay dead when its name is used again"]
    case .ignoresSecretExpiry: ["A client secret ends when it expires"]
    case .oneKeyOnly: ["Both API keys authenticate"]
    case .keepsOldKeys: ["Regenerating one API key kills it at once and leaves the other"]
    case .shortSecrets: ["Secrets are long and never the same"]
    case .comparesPrefixes: ["Near misses of a secret are rejected"]
    case .takesAnyKind: ["A secret of one kind is not taken for another"]
    case .echoesSecrets: ["A rejection tells nothing of the secret shown"]
    case .sharedResult: ["Concurrent callers are each taken for themselves"]
    case .endlessTokens: ["A token authenticates for its audience"]
    case .ignoresAudience: ["A token for another audience is rejected"]
    case .ignoresExpiry: ["A token ends when it expires"]
    case .ignoresNotBefore: ["A token from the future is rejected"]
    case .anyLifetime: ["A token's lifetime is 1 second to 24 hours"]
    case .issuesWhenOff: ["No token is issued for whoever is switched off"]
    case .sharedSigningKey: ["Another directory's token is rejected"]
    case .ignoresSignature: ["A token altered anywhere is rejected"]
    case .lenientBase64: ["Stray bits at the end of a token's parts are rejected"]
    case .stripsCharacters: ["Characters outside base64url are rejected"]
    case .acceptsUnsigned: ["A token without a signature is rejected, whatever its header says"]
    case .signsPartsAlone: ["Parts of two tokens don't make a third"]
    case .malformedIsInvalid: ["Empty, garbled and huge tokens are rejected"]
    case .tellsExpired: ["All rejections of tokens look the same"]
    case .forgetsResource: ["A managed identity is bound to its resource"]
    case .twoManagedIdentities: ["A resource has one managed identity"]
    case .keepsManagedIdentities: ["A managed identity is gone after it is deleted, and can be made again"]
    case .managedIgnoreSwitch: ["A managed identity that is switched off has no access"]
    case .managedSecrets: ["A managed identity has no secret of its own"]
    case .managedInFirstTenant: ["A tenant's managed identities don't meet those of another"]
    case .forgetsOnReopen: ["Principals and credentials survive reopening"]
    case .revivesOnReopen: ["What was switched off, deleted or regenerated stays so after reopening"]
    case .worksClosed: ["After close every method is unavailable (closed)"]
    case .leavesStreamsOpen: ["Event streams end at close, and closing twice does no harm"]
    }
  }
}
