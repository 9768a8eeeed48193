/// Keys on SoftHSM: the provider against the bare calls on the same token, and a full token against a nearly empty one.
func tokenRows() async throws {
  let hsm = try SoftHSM()
  defer { hsm.remove() }
  let options = Options.current
  // Filling takes a millisecond for each object in memory, ten on a disk.
  let many: Int? = if !options.isQuick { 10_000 } else if options.names != nil { 2_000 } else { nil }
  let labels = try (few: hsm.makeToken("few"), many: hsm.makeToken("many"))

  let few = try await BenchToken(hsm, labels.few, others: 10)
  for job in TokenJob.allCases {
    for callers in BenchToken.callers {
      try await row(
        "R9", "\(job.name)-\(callers)", "c", goal: job.goal.map { .speed(atLeast: $0) } ?? .comparison,
        ours: { try await few.ours(job, callers: callers) },
        baseline: { try few.bare(job, callers: callers) })
    }
  }
  if let many {
    let full = try await BenchToken(hsm, labels.many, others: many)
    for job in TokenJob.allCases where job.goal != nil {
      for callers in BenchToken.callers {
        try await row(
          "R9", "\(job.name)-\(callers)-of-\(many)", "of-10", goal: .speed(atLeast: 0.95),
          ours: { try await full.ours(job, callers: callers) },
          baseline: { try await few.ours(job, callers: callers) })
      }
    }
    await full.close()
  } else {
    print("R9 with many objects on the token: left out, for filling it takes time; ROWS=R9 or no QUICK=1 runs it.")
  }
  await few.close()
}
