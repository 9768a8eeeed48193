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
    @Argument(help: "The file to seal.") var source: String
    @Argument(help: "Where the sealed file goes.") var target: String

    func run() async throws {
      try await common.run { output in
        let size = FileTools.size(source)
        let bar = ProgressBar("sealing", total: size, isShown: Process.isInteractive)
        let total = Counter(bar)
        try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
          try await custody.resource(try ResourceID(object.resource)).sealFile(
            source, to: target, as: object.object, dataClass: object.dataClass,
            identifiers: try object.identifiers(), progress: { total.reached($0) })
        }
        bar.finish()
        output.print(
          "sealed \(source) into \(target)",
          FileResult(
            source: source, target: target, resource: object.resource, object: object.object, bytes: size))
      }
    }
  }

  struct OpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "open", abstract: "Open a sealed file of a resource.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var object: ObjectOptions
    @Argument(help: "The sealed file.") var source: String
    @Argument(help: "Where the opened file goes.") var target: String

    func run() async throws {
      try await common.run { output in
        let bar = ProgressBar("opening", total: FileTools.size(source), isShown: Process.isInteractive)
        let total = Counter(bar)
        try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
          try await custody.resource(try ResourceID(object.resource)).openFile(
            source, to: target, as: object.object, dataClass: object.dataClass,
            identifiers: try object.identifiers(), progress: { total.reached($0) })
        }
        bar.finish()
        output.print(
          "opened \(source) into \(target)",
          FileResult(
            source: source, target: target, resource: object.resource, object: object.object,
            bytes: FileTools.size(target)))
      }
    }
  }
#endif
