import KeyCustody
import KeyCustodyCrypto
import KeyCustodyEnvelope
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyVault

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process whose memory is searched: it opens a deployment, works with it, pauses, closes it, and pauses again.
///
/// `SecretsProbe FOLDER SEED SECRET-FILES…`, where FOLDER holds `keycustody.json` and perhaps keys to import. It prints
/// the lengths of its random draws at the first pause, never a secret.
@main
enum SecretsProbe {
  static func main() async throws {
    EagerBinding.restart()
    let words = CommandLine.arguments
    guard words.count >= 3, let seed = UInt64(words[2]) else { return print("usage: SecretsProbe FOLDER SEED FILES…") }
    // Trying the library out draws at random too: not by the seed.
    await (try await MemoryKeyProvider()).close()
    try await work(words[1], NumberedRandom(seed: seed), Array(words.dropFirst(3)))
    pause("closed")
  }

  private static func work(_ folder: String, _ random: NumberedRandom, _ secrets: [String]) async throws {
    let environment = RuntimeEnvironment(random: random, baseDirectory: folder)
    let json = try SecretReference.read("\(folder)/keycustody.json").withBytes { bytes in
      (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }
    let custody = try await KeyCustody.open(
      KeyCustodyConfiguration(json: json), plugins: [MemoryPlugin().plugin, FilePlugin.plugin, PKCS11Plugin.plugin],
      environment: environment)
    let notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    for number in 0..<2000 {
      let sealed = try await notes.seal(Array("note \(number)".utf8), as: "note")
      let opened = try await notes.open(sealed, as: "note")
      precondition(opened == Array("note \(number)".utf8))
    }
    try await notes.sealFile("\(folder)/keycustody.json", to: "\(folder)/sealed", as: "file")
    try await notes.openFile("\(folder)/sealed", to: "\(folder)/opened", as: "file")
    let bytes = try await FileBytes(path: "\(folder)/sealed")
    let reader = try await notes.reader(over: bytes, as: "file")
    _ = try await reader.read(at: 0, count: 10)
    try await useImported(folder, custody, environment)
    await whileHeld(secrets[...], environment) {
      pause("open \(random.lengths.map(String.init).joined(separator: ","))")
    }
    await custody.close()
    _ = reader
  }

  /// Imports the keys that lie in the folder and works with them.
  private static func useImported(
    _ folder: String, _ custody: KeyCustody, _ environment: RuntimeEnvironment
  ) async throws {
    guard let provider = custody.keyProviders["keys"] else { return }
    let context = CallContext(purpose: .administration)
    if unsafe access("\(folder)/rsa.der", R_OK) == 0 {
      let version = try KeyVersionID(random: environment.random)
      _ = try await provider.importKey(
        try SecretReference.read("\(folder)/rsa.der"),
        as: GenerateKeyRequest(version: version, type: .rsa(bits: 2048), role: .wrapping), context: context)
      try await provider.probe(version, context: context)
    }
    if unsafe access("\(folder)/ec.der", R_OK) == 0 {
      let version = try KeyVersionID(random: environment.random)
      _ = try await provider.importKey(
        try SecretReference.read("\(folder)/ec.der"),
        as: GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing), context: context)
      try await provider.probe(version, context: context)
    }
  }

  /// Loads every named secret as a backend would, and holds them for the length of `body`.
  private static func whileHeld(
    _ paths: ArraySlice<String>, _ environment: RuntimeEnvironment, _ body: () -> Void
  ) async {
    guard let path = paths.first, let secret = try? SecretReference.file(path).load(environment) else { return body() }
    await whileHeld(paths.dropFirst(), environment, body)
    precondition(secret.count > 0)
  }

  /// Says where it stands and waits for a line.
  private static func pause(_ stage: String) {
    print(stage)
    fflush(nil)
    _ = readLine()
  }
}
