#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices

  /// What names a sealed object.
  struct ObjectOptions: ParsableArguments {
    @Option(help: "The resource the data belongs to.")
    var resource: String

    @Option(help: "The object's name within the resource; needed again to open it.")
    var object: String

    @Option(name: .customLong("class"), help: "The data class, by the resource's profile.")
    var dataClass = ProtectedResource.defaultClass

    @Option(help: "An identifier kept in clear beside the data, NAME=VALUE; may be repeated.")
    var identifier: [String] = []

    func identifiers() throws(KeyCustodyError) -> [String: String] {
      var result: [String: String] = [:]
      for text in identifier {
        guard let cut = text.firstIndex(of: "="), cut != text.startIndex else {
          throw KeyCustodyError(
            .invalidInput, .malformed, "'\(text.prefix(80))' is not an identifier.", remedy: "Write NAME=VALUE.")
        }
        result[String(text[..<cut])] = String(text[text.index(after: cut)...])
      }
      return result
    }
  }

  /// Where the sealed form is: in a file of its own, or in a folder that conversions can work through.
  struct PlaceOptions: ParsableArguments {
    @Option(help: "A folder that keeps the resource's sealed data, in place of a sealed file.")
    var store: String?

    /// Refuses both and neither.
    func file(_ path: String?) throws(KeyCustodyError) -> String? {
      guard (path == nil) != (store == nil) else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "Either a sealed file or --store names where the sealed data is.",
          remedy: "Name one of them. What is in a store follows the resource to another key; a loose file does not.")
      }
      return path
    }
  }

  /// What a seal or open answered, as JSON.
  struct FileResult: Encodable {
    var source: String
    var target: String
    var resource: String
    var object: String
    var bytes: Int64
  }

  struct SealCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "seal", abstract: "Seal a file for a resource, in two layers.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var object: ObjectOptions
    @OptionGroup var place: PlaceOptions
    @Argument(help: "The file to seal.") var source: String
    @Argument(help: "Where the sealed file goes, without --store.") var target: String?

    func run() async throws {
      try await common.run { output in
        let target = try place.file(target)
        let size = FileTools.size(source)
        let bar = ProgressBar("sealing", total: size, isShown: Process.isInteractive)
        let total = Counter(bar)
        try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
          let resource = try await custody.resource(try ResourceID(object.resource))
          let identifiers = try object.identifiers()
          do throws(KeyCustodyError) {
            if let target {
              try await resource.sealFile(
                source, to: target, as: object.object, dataClass: object.dataClass, identifiers: identifiers,
                progress: { total.reached($0) })
            } else if let folder = place.store {
              try await FolderSealedStore(folder: folder).putFile(
                source, as: object.object, in: resource, dataClass: object.dataClass, identifiers: identifiers,
                progress: { total.reached($0) })
            }
          } catch {
            throw await AccessAdvice(custody).advise(error, resource)
          }
        }
        bar.finish()
        output.print(
          "sealed \(source) into \(target ?? place.store ?? "")",
          FileResult(
            source: source, target: target ?? place.store ?? "", resource: object.resource, object: object.object,
            bytes: size))
      }
    }
  }

  struct OpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "open", abstract: "Open a sealed file of a resource.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var object: ObjectOptions
    @OptionGroup var place: PlaceOptions
    @Argument(help: "The sealed file (left out with --store), and where the opened file goes.") var files: [String]

    func run() async throws {
      try await common.run { output in
        let source = try place.file(files.count > 1 ? files[0] : nil)
        guard let target = files.last, files.count <= 2 else {
          throw KeyCustodyError(
            .invalidInput, .malformed, "Too many files are named.", remedy: "Name a sealed file and a target.")
        }
        let total = source.map { FileTools.size($0) } ?? 0
        let bar = ProgressBar("opening", total: total, isShown: Process.isInteractive && source != nil)
        let counter = Counter(bar)
        try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
          let resource = try await custody.resource(try ResourceID(object.resource))
          do throws(KeyCustodyError) {
            if let source {
              try await resource.openFile(
                source, to: target, as: object.object, dataClass: object.dataClass,
                identifiers: try object.identifiers(), progress: { counter.reached($0) })
            } else if let folder = place.store {
              try await FolderSealedStore(folder: folder).getFile(
                object.object, in: resource, to: target, progress: { counter.reached($0) })
            }
          } catch {
            throw await AccessAdvice(custody).advise(error, resource)
          }
        }
        bar.finish()
        output.print(
          "opened \(source ?? place.store ?? "") into \(target)",
          FileResult(
            source: source ?? place.store ?? "", target: target, resource: object.resource, object: object.object,
            bytes: FileTools.size(target)))
      }
    }
  }
#endif
