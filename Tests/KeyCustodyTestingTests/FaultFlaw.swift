/// What can be wrong with the way a backend takes faults, and which behaviours must notice.
enum FaultFlaw: String, CaseIterable, Sendable {
  // Of the way to the device, and so of providers and stores.
  case notFoundWhenLoggedOut, retriesCredential, keepsDeadSessions, lostAnswerIsRefusal, outageIsFault, cachesFailure
  case forgetsAvailable, hangsPastDeadline
  // Of providers.
  case emptyIsNotFound, listsNothingInOutage, believesBytes, duplicatesKey, acknowledgesFailure, leavesHalfKey
  case swallowsDestroy, awayIsDamaged, awayIsUnsupported, asksBeforeRefusing, probesNothing, waitsForEver
  // Of stores.
  case keepsOldIndex, acknowledgesFailedWrite, listsNoRecords, absentIsNil, believesRecords, conflictsWithItself
  case removesBeforeWriting, forgetsWatchers
  // Of directories.
  case outageIsRejection, outageIsNobody, swallowsDeletion, deniesChange

  /// The names of the behaviours that must notice it in a key provider.
  var caughtByKeys: [String] {
    switch self {
    case .notFoundWhenLoggedOut: ["unwrap survives a lost login", "describe survives cut sessions"]
    case .retriesCredential: ["A refused credential is shown once, and not again"]
    case .keepsDeadSessions: ["unwrap survives cut sessions", "generate survives a lost login"]
    case .lostAnswerIsRefusal: ["generate survives a lost answer", "destroy survives a lost answer"]
    case .outageIsFault: ["describe survives an outage", "unwrap survives a refused call"]
    case .cachesFailure:
      [
        "wrap survives a refused call",
        "Many callers in an outage are all answered, and all served after it",
      ]
    case .forgetsAvailable: ["An outage and its end are told to whoever reads the events"]
    case .hangsPastDeadline: ["unwrap survives a hang", "Many callers meet their deadlines while the backend hangs"]
    case .emptyIsNotFound: ["describe survives a backend that looks empty"]
    case .listsNothingInOutage: ["inventory survives an outage"]
    case .believesBytes: ["wrap survives a flipped bit"]
    case .duplicatesKey: ["generate survives a lost answer"]
    case .acknowledgesFailure: ["generate survives a full backend", "import survives a refused call"]
    case .leavesHalfKey: ["generate survives a crash"]
    case .swallowsDestroy: ["destroy survives a refused call"]
    case .awayIsDamaged: ["unwrap survives a refused call"]
    case .awayIsUnsupported: ["sign survives an outage"]
    case .asksBeforeRefusing: ["What is not offered is refused before the backend is touched"]
    case .probesNothing: ["probe survives an outage"]
    case .waitsForEver: ["describe survives an outage"]
    default: []
    }
  }

  /// The names of the behaviours that must notice it in a policy store.
  var caughtByStores: [String] {
    switch self {
    case .notFoundWhenLoggedOut: ["read survives a lost login"]
    case .keepsDeadSessions: ["read survives cut sessions"]
    case .lostAnswerIsRefusal: ["update survives a lost answer", "delete survives a lost answer"]
    case .cachesFailure: ["read survives a refused call"]
    case .keepsOldIndex: ["update survives a lost answer"]
    case .acknowledgesFailedWrite: ["create survives a full backend", "delete survives an outage"]
    case .listsNoRecords: ["list survives an outage"]
    case .absentIsNil: ["read survives a backend that looks empty"]
    case .believesRecords: ["read survives a flipped bit"]
    case .conflictsWithItself: ["create survives a lost answer"]
    case .removesBeforeWriting: ["update survives a refused call", "update survives a crash"]
    case .forgetsWatchers: ["create survives a lost answer"]
    default: []
    }
  }

  /// The names of the behaviours that must notice it in a directory.
  var caughtByDirectories: [String] {
    switch self {
    case .outageIsRejection: ["authenticating by client secret survives an outage"]
    case .outageIsNobody: ["lookup survives an outage"]
    case .swallowsDeletion: ["delete survives a refused call"]
    case .deniesChange: ["switching off survives a lost answer"]
    default: []
    }
  }
}
