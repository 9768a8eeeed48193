public import KeyCustody
import KeyCustodyEnvelope

extension KeyCustody {
  var jobs: RecordView<JobRecord> { RecordView(resources.store) }

  /// What is left to do in the background, by the names of resources.
  public func pendingJobs() async throws(KeyCustodyError) -> [Job] {
    try await jobs.all(prefix: JobRecord.prefix).map(\.value.job)
  }

  /// What is left to do for a resource; `nil` when nothing is.
  public func pendingJob(for resource: ResourceID) async throws(KeyCustodyError) -> Job? {
    try await jobs.read(try JobRecord.path(resource))?.job
  }

  /// Puts down that a resource's data is to be converted.
  ///
  /// One that is planned already is planned once more: whoever is about to finish it sees that it is not over.
  func plan(_ resource: ResourceID) async throws(KeyCustodyError) {
    let path = try JobRecord.path(resource)
    let job = Job(resource: resource, planned: environment.time.now())
    while try await !jobs.create(path, JobRecord(job: job)) {
      if try await jobs.update(path, { $0.plans += 1 }) != nil { break }
      // It was finished in between.
    }
    jobsPlanned.send(resource)
  }
}

extension ProtectedResource {
  /// Makes a change that a job is to finish.
  ///
  /// The job is put down first: a change without one would never be finished. And again afterwards: a worker that took
  /// it up before the change was made found nothing to do, and removed it.
  func whilePlanned(
    _ change: (ResourceRecord) async throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    let record = try await custody.record(id)
    try await custody.plan(id)
    do throws(KeyCustodyError) { try await change(record) } catch {
      // It may have happened all the same.
      try? await custody.plan(id)
      throw error
    }
    // The change is made, whatever comes of this: upkeep finds a conversion that has no job.
    try? await custody.plan(id)
  }
}
