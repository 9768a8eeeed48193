#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyVault

  #if canImport(FoundationEssentials)
    import FoundationEssentials
  #else
    import Foundation
  #endif

  struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "audit", abstract: "Check and read audit logs; works on files, without the deployment.",
      subcommands: [Verify.self, AuditShowCommand.self, Proof.self])

    /// Where a log's files are.
    struct FileOptions: ParsableArguments {
      @Argument(help: "The log's folder, and those that finished files were moved to.")
      var folders: [String]

      func files() throws(KeyCustodyError) -> AuditFiles { try AuditFiles(folders: folders) }
    }

    /// Whose signature counts.
    struct KeyOptions: ParsableArguments {
      @Option(
        name: .customLong("verifier"),
        help: "A file with the log's verifier key: a copy of verifier.key, kept elsewhere since the log was begun.")
      var path: String

      func key() throws(KeyCustodyError) -> AuditVerifierKey {
        let text = try readText(path)
        return try AuditVerifierKey(text.hasSuffix("\n") ? String(text.dropLast()) : text)
      }
    }

    fileprivate static func readText(_ path: String) throws(KeyCustodyError) -> String {
      guard let data = FileManager.default.contents(atPath: path), data.count <= 64 << 10,
        let text = String(data: data, encoding: .utf8)
      else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The file '\(path)' can't be read as a short text.",
          remedy: "Check its name and its permissions.")
      }
      return text
    }

    /// A checkpoint in a file, cut out of a file of them with the empty line after it or without.
    fileprivate static func checkpoint(
      in path: String, _ key: AuditVerifierKey
    ) throws(KeyCustodyError) -> AuditCheckpoint {
      var text = try readText(path)[...]
      while text.hasSuffix("\n\n") { text = text.dropLast() }
      return try AuditCheckpoint(note: String(text), key: key)
    }

    /// A checkpoint in a file; the newest of the log where none is named.
    fileprivate static func checkpoint(
      _ path: String?, _ key: AuditVerifierKey, _ files: AuditFiles
    ) throws(KeyCustodyError) -> AuditCheckpoint {
      if let path { return try checkpoint(in: path, key) }
      if let latest = try files.latestCheckpoint(key) { return latest }
      throw KeyCustodyError(.notFound, .unreachable, "The folders hold no checkpoint.", remedy: "Name one by its file.")
    }

    struct Verify: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Check every record against its neighbours and the signed checkpoints; names the first bad one.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var files: FileOptions
      @OptionGroup var key: KeyOptions
      @Option(help: "A file with a checkpoint kept elsewhere: the log must still begin with what it is over.")
      var after: String?

      private struct Result: Encodable {
        var sound: Bool
        var records: UInt64
        var files: Int
        var checkpoints: Int
        var signed: UInt64
        var finding: AuditVerification.Finding?
      }

      func run() async throws {
        try await common.run { output in
          let key = try key.key()
          let kept = try after.map { path in try AuditCommand.checkpoint(in: path, key) }
          let found = try files.files().verify(key, after: kept)
          let result = Result(
            sound: found.finding == nil, records: found.records, files: found.files, checkpoints: found.checkpoints,
            signed: found.signed, finding: found.finding)
          if let bad = found.finding {
            let place = bad.line > 0 ? "\(bad.file) line \(bad.line)" : bad.file
            output.print("NOT SOUND: record \(bad.record), \(place): \(bad.what)", result)
            throw ExitCode.failure
          }
          let rest = found.records - found.signed
          output.print(
            "sound: \(found.records) records in \(found.files) files, \(found.checkpoints) checkpoints"
              + (rest > 0 ? "; the last \(rest) are linked and not signed yet" : ""), result)
        }
      }
    }

    struct Proof: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Prove that a record is in the log, or that a later checkpoint goes on from an earlier one.",
        discussion: "A proof is checked before it is printed.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var files: FileOptions
      @OptionGroup var key: KeyOptions
      @Option(help: "The record's number.") var record: UInt64?
      @Option(help: "A file with the earlier checkpoint, for a proof from it to the later one.") var from: String?
      @Option(help: "A file with the checkpoint that the proof leads to; the log's newest, unless given.")
      var checkpoint: String?

      private struct Result: Encodable {
        var record: UInt64?
        var line: String?
        var from: UInt64?
        var hashes: [String]
        var checkpoint: String
      }

      func run() async throws {
        try await common.run { output in
          let (files, key) = (try files.files(), try key.key())
          let target = try AuditCommand.checkpoint(checkpoint, key, files)
          switch (record, from) {
          case (let record?, nil):
            let proof = try files.inclusionProof(of: record, in: target)
            let hashes = Self.base64(proof.hashes)
            // The form of c2sp.org/tlog-proof.
            let text = ["c2sp.org/tlog-proof@v1", "index \(record)"] + hashes + ["", target.note]
            output.print(
              String(text.joined(separator: "\n").dropLast()),
              Result(record: record, line: proof.line, from: nil, hashes: hashes, checkpoint: target.note))
          case (nil, let from?):
            let old = try AuditCommand.checkpoint(in: from, key)
            let hashes = Self.base64(try files.consistencyProof(from: old, to: target))
            let text = ["old \(old.size)"] + hashes + ["", target.note]
            output.print(
              String(text.joined(separator: "\n").dropLast()),
              Result(record: nil, line: nil, from: old.size, hashes: hashes, checkpoint: target.note))
          case (nil, nil), (.some, .some):
            throw KeyCustodyError(
              .invalidInput, .malformed, "A proof is of a record or from a checkpoint.",
              remedy: "Give one of --record and --from.")
          }
        }
      }

      private static func base64(_ hashes: [[UInt8]]) -> [String] { hashes.map { Data($0).base64EncodedString() } }
    }
  }
#endif
