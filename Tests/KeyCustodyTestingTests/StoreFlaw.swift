/// What can be wrong with a policy store, and which behaviours must notice.
enum StoreFlaw: String, CaseIterable, Sendable {
  case readsNeighbours, swallowsWrites, keepsOldValues, ignoresExpectedRevision, deletesWithoutLooking, keepsDeleted
  case revisionsPerRecord, valuesAreText, emptyIsAbsent, smallLimit, noLimit, foldsCase, shortKeys
  case deleteKeepsRevision, conflictsCount, listsOldRevisions
  case listsOutOfOrder, prefixIsPath, firstPageOnly, afterMustExist, ignoresLimit, listsTwice
  case checksThenActs
  case losesDeletes, watchesFromNow, watchesFromStart, oneWatcher, watchersEndTogether, smallBuffer, tellsOldValues
  case tellsConflicts, forgetsDeletes, leavesStreamsOpen
  case freshIdentity, sharedDisk, losesRecords, revivesDeleted, restartsRevisions, revisionFromRecords
  case closedIsEmpty, secondCloseOpens

  /// The names of the behaviours that must notice it.
  var caughtBy: [String] {
    switch self {
    case .readsNeighbours: ["Reading what is not there gives nothing"]
    case .swallowsWrites: ["A record is created when there is none"]
    case .keepsOldValues: ["A write at the right revision replaces the record"]
    case .ignoresExpectedRevision:
      [
        "Creating what exists conflicts and tells what is there",
        "A write at a wrong revision conflicts and changes nothing",
        "A write over a record that is not there conflicts",
      ]
    case .deletesWithoutLooking:
      [
        "A delete at a wrong revision conflicts and changes nothing",
        "A delete of what is not there conflicts with nothing",
      ]
    case .keepsDeleted: ["A delete at the right revision removes the record"]
    case .revisionsPerRecord:
      [
        "A record made anew is another one than before", "Revisions grow with every change of any record",
        "Concurrent changes have revisions of their own",
      ]
    case .valuesAreText: ["Values are kept byte for byte"]
    case .emptyIsAbsent: ["An empty value is a value"]
    case .smallLimit: ["A value at the limit is kept"]
    case .noLimit: ["A value over the limit is refused and changes nothing"]
    case .foldsCase: ["Keys that differ only in case are different"]
    case .shortKeys: ["The longest and oddest keys are taken"]
    case .deleteKeepsRevision: ["The current revision is that of the newest change"]
    case .conflictsCount: ["Refused changes and reads do not move the revision"]
    case .listsOldRevisions: ["Reading and listing agree on records and revisions"]
    case .listsOutOfOrder: ["A listing is in byte order of the keys"]
    case .prefixIsPath: ["A prefix is text, not a path"]
    case .firstPageOnly:
      ["Pages of any size give every record once", "More than a page of records is listed page by page"]
    case .afterMustExist: ["A listing after a key that does not exist begins behind it"]
    case .ignoresLimit: ["A limit of zero gives nothing, one over the page size no more than a page"]
    case .listsTwice: ["A listing during writes has no record twice and leaves none out"]
    case .checksThenActs:
      [
        "64 writers that count by compare-and-set lose no count",
        "Of concurrent creators of one record exactly one wins", "Of concurrent writers and deleters exactly one wins",
      ]
    case .losesDeletes: ["A watcher is told of later writes and deletes in order"]
    case .watchesFromNow:
      [
        "A watcher since an old revision is told what happened since",
        "A watcher since the beginning is told of everything living",
      ]
    case .watchesFromStart: ["A watcher of the present is not told of the past"]
    case .oneWatcher: ["Two watchers are both told everything"]
    case .watchersEndTogether: ["A watcher that ends early harms nobody"]
    case .smallBuffer: ["A slow watcher misses no record"]
    case .tellsOldValues: ["What a watcher is told during writes adds up to the store"]
    case .tellsConflicts: ["Refused changes are told to nobody"]
    case .forgetsDeletes: ["A watcher since before reopening misses no delete"]
    case .leavesStreamsOpen: ["Streams of changes end at close"]
    case .freshIdentity: ["The identity is named and survives reopening"]
    case .sharedDisk: ["Two stores share nothing"]
    case .losesRecords: ["Records survive reopening"]
    case .revivesDeleted: ["Deletes survive reopening"]
    case .restartsRevisions: ["Revisions grow across reopening"]
    case .revisionFromRecords: ["Revisions grow after the newest record was deleted and the store reopened"]
    case .closedIsEmpty: ["After close every method is unavailable (closed)"]
    case .secondCloseOpens: ["Closing twice does no harm"]
    }
  }
}
