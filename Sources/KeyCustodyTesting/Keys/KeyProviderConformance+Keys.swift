import KeyCustody

extension KeyProviderConformance {
  /// Making, describing, listing and destroying key versions.
  static let keys: [KeyBehavior] = [
    .init("A key keeps the name its caller chose", "V1", nameIsKept),
    .init("A name that is taken is refused and the old key is unharmed", "KeyProvider", takenNameIsRefused),
    .init("A description tells type, role, origin, label and public key", "KeyProvider", descriptionIsComplete),
    .init("Fingerprints tell keys apart and stay the same", "KeyProvider", fingerprintsTellApart),
    .init("A role that a key type can't play is refused", "KeyProvider", impossibleRoleIsRefused),
    .init("A general RSA key unwraps and signs", "V8", generalKeysDoBoth),
    .init("A label of odd characters or great length never fails", "KeyProvider", oddLabelsAreTaken),
    .init("An unknown key version is notFound for every operation", "DESIGN 3", unknownVersionIsNotFound),
    .init("A destroyed key is gone and the others are unharmed", "V9", destroyedKeyIsGone),
    .init("A destroyed key is gone after reopening too", "V9", destroyedKeyStaysGone),
    .init("Keys survive reopening and unwrap what was wrapped before", "KeyProvider", keysSurviveReopening),
    .init("The inventory lists exactly the versions that exist", "KeyProvider", inventoryIsExact),
    .init("The inventory pages in order of names", "KeyProvider", inventoryPages),
    .init("The probe works with and without a good wrapping key", "KeyProvider", probeWorks),
  ]

  @Sendable private static func nameIsKept(_ trial: KeyTrial) async throws {
    let version = try trial.freshVersion()
    let made = try await trial.generateAny(version: version)
    try expect(made.version == version, "Asked for \(version), got \(made.version).")
    let found = try await trial.describe(version)
    try expect(found == made, "The key is described as \(found), but when it was made as \(made).")
  }

  @Sendable private static func takenNameIsRefused(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    let wrapped = try await trial.wrap(key.version, algorithm)
    let request = GenerateKeyRequest(version: key.version, type: key.type, role: key.role)
    try await refused(.invalidInput, .alreadyExists, "Generating a key under a name that is taken") {
      () async throws(KeyCustodyError) in
      _ = try await trial.provider.generate(request, context: trial.context)
    }
    try expect(try await trial.describe(key.version) == key, "The refused twin changed the key.")
    try await trial.expectUnwraps(wrapped.bytes, key.version, algorithm, "after a twin was refused")
  }

  @Sendable private static func descriptionIsComplete(_ trial: KeyTrial) async throws {
    var seen = 0
    for type in [KeyType.aes(bits: 256), .ec(.p256), .rsa(bits: 2048)] where trial.capabilities.offers(.generate(type))
    {
      seen += 1
      let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
      let made = try await trial.generate(type, role, label: "a label")
      let found = try await trial.describe(made.version)
      try expect(found.type == type, "A key of type \(type) is described as \(found.type).")
      try expect(found.role == role, "A \(role) key is described as a \(found.role) key.")
      try expect(found.origin == .generated, "A generated key is described as \(found.origin).")
      try expect(found.label == "a label", "The label 'a label' became '\(found.label)'.")
      if case .aes = type {
        try expect(found.publicKey == nil, "An AES key is described with a public key.")
      } else {
        let parsed = found.publicKey.flatMap(SubjectPublicKeyInfo.keyType(of:))
        try expect(parsed == type, "The public key of an \(type) key is not its SubjectPublicKeyInfo.")
      }
    }
    if seen == 0 { throw NotApplicable("neither AES-256, P-256 nor RSA-2048 can be generated here") }
  }

  @Sendable private static func fingerprintsTellApart(_ trial: KeyTrial) async throws {
    let keys = [try await trial.generateAny(), try await trial.generateAny(), try await trial.generateAny()]
    try expect(keys.allSatisfy { $0.fingerprint.count >= 3 }, "A fingerprint has fewer than 3 bytes.")
    try expect(Set(keys.map(\.fingerprint)).count == keys.count, "Different keys have the same fingerprint.")
    for key in keys {
      let again = try await trial.describe(key.version).fingerprint
      try expect(again == key.fingerprint, "A fingerprint changed from one description to the next.")
    }
  }

  @Sendable private static func impossibleRoleIsRefused(_ trial: KeyTrial) async throws {
    let impossible = KeyType.offered.filter { trial.capabilities.offers(.generate($0)) }.flatMap { type in
      KeyRole.allCases.filter { !type.roles.contains($0) }.map { (type, $0) }
    }
    guard !impossible.isEmpty else { throw NotApplicable("every key type offered here plays both roles") }
    for (type, role) in impossible {
      let version = try trial.freshVersion()
      try await refused(.invalidInput, .wrongKeyType, "Generating an \(type) key for \(role)") {
        () async throws(KeyCustodyError) in
        _ = try await trial.provider.generate(
          GenerateKeyRequest(version: version, type: type, role: role), context: trial.context)
      }
      try await trial.expectAbsent(version, "that was refused for its role")
    }
  }

  @Sendable private static func generalKeysDoBoth(_ trial: KeyTrial) async throws {
    let type = KeyType.rsa(bits: 2048)
    guard trial.capabilities.offers(.generate(type)),
      let wrapping = WrapAlgorithm.fitting(type).first(where: {
        trial.capabilities.offers(.wrap($0)) && trial.capabilities.offers(.unwrap($0))
      }),
      let signing = SignatureAlgorithm.fitting(type).first(where: { trial.capabilities.offers(.sign($0)) })
    else { throw NotApplicable("RSA-2048 can't be generated here, or does not both unwrap and sign") }
    let request = GenerateKeyRequest(version: try trial.freshVersion(), type: type, role: .general)
    let key: KeyDescription
    do throws(KeyCustodyError) { key = try await trial.provider.generate(request, context: trial.context) } catch {
      guard error.code == .unsupported else {
        throw ConformanceViolation("Generating a general key threw '\(error)', which is neither done nor unsupported.")
      }
      throw NotApplicable("general keys are not offered here")
    }
    let found = try await trial.describe(key.version)
    try expect(found.role == .general, "A general key is described as a \(found.role) key.")
    let wrapped = try await trial.wrap(key.version, wrapping)
    try await trial.expectUnwraps(wrapped.bytes, key.version, wrapping, "under a general key")
    _ = try await trial.sign(trial.digest(for: signing), key.version, signing)
  }

  @Sendable private static func oddLabelsAreTaken(_ trial: KeyTrial) async throws {
    let labels = [
      "", " ", "Schlüssel für Zürich 🔑", "line\nbreak\tand \u{0}", "quote ' \" \\ ; -- %s {}", "../../etc/passwd",
      String(repeating: "long", count: 1000), String(repeating: "🔑", count: 33),
    ]
    for label in labels {
      let made = try await trial.generateAny(label: label)
      let found = try await trial.describe(made.version)
      try expect(found.label.utf8.count <= 128, "\(found.label.utf8.count) bytes of a label were kept.")
      let short = label.utf8.count <= 128 && label.unicodeScalars.allSatisfy { $0.value >= 0x20 }
      try expect(!short || found.label == label, "The label '\(label)' became '\(found.label)'.")
      try expect(found == made, "A key with an odd label is described differently from when it was made.")
    }
  }

  @Sendable private static func unknownVersionIsNotFound(_ trial: KeyTrial) async throws {
    let unknown = try trial.freshVersion()
    _ = try await trial.generateAny()
    try await trial.expectAllNotFound(unknown, "that never was")
  }

  @Sendable private static func destroyedKeyIsGone(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    let (other, _) = try await trial.wrappingKey()
    let lost = try await trial.wrap(key.version, algorithm)
    let kept = try await trial.wrap(other.version, algorithm)
    try await trial.destroy(key.version)
    try await trial.expectAllNotFound(key.version, "that was destroyed", wrapped: lost.bytes)
    try await trial.expectUnwraps(kept.bytes, other.version, algorithm, "after another key was destroyed")
  }

  @Sendable private static func destroyedKeyStaysGone(_ trial: KeyTrial) async throws {
    try trial.bench.requirePersistence()
    let (key, algorithm) = try await trial.wrappingKey()
    let (other, _) = try await trial.wrappingKey()
    let kept = try await trial.wrap(other.version, algorithm)
    try await trial.destroy(key.version)
    let again = try await trial.reopened()
    try await again.expectAllNotFound(key.version, "that was destroyed before reopening")
    try await again.expectUnwraps(kept.bytes, other.version, algorithm, "after another key was destroyed and reopening")
  }

  @Sendable private static func keysSurviveReopening(_ trial: KeyTrial) async throws {
    try trial.bench.requirePersistence()
    var wrapped: [(KeyDescription, WrapAlgorithm, [UInt8])] = []
    for (key, algorithm) in trial.wrapping.isEmpty ? [] : try await trial.wrappingKeys() {
      wrapped.append((key, algorithm, try await trial.wrap(key.version, algorithm).bytes))
    }
    var signing: [(KeyDescription, SignatureAlgorithm)] = []
    if let (algorithm, type) = trial.signing.first {
      signing.append((try await trial.generate(type, .signing), algorithm))
    }
    let again = try await trial.reopened()
    for (key, algorithm, bytes) in wrapped {
      try expect(try await again.describe(key.version) == key, "A key is described differently after reopening.")
      try await again.expectUnwraps(bytes, key.version, algorithm, "after reopening")
    }
    for (key, algorithm) in signing {
      try expect(try await again.describe(key.version) == key, "A key is described differently after reopening.")
      _ = try await again.sign(again.digest(for: algorithm), key.version, algorithm)
    }
  }

  @Sendable private static func inventoryIsExact(_ trial: KeyTrial) async throws {
    guard trial.provider.inventory != nil else { throw NotApplicable("this provider does not list its keys") }
    let before = Set(try await trial.list())
    if trial.subject.backendsAreSeparate {
      try expect(before.isEmpty, "A fresh backend lists \(before.count) keys.")
    }
    var made: [KeyVersionID] = []
    for _ in 0..<3 { made.append(try await trial.generateAny().version) }
    try await trial.destroy(made.removeLast())
    let after = try await trial.list()
    try expect(Set(after) == before.union(made), "The inventory lists \(after), but there are \(before.union(made)).")
    try expect(Set(after).count == after.count, "The inventory lists a key twice.")
  }

  @Sendable private static func inventoryPages(_ trial: KeyTrial) async throws {
    guard let inventory = trial.provider.inventory else {
      throw NotApplicable("this provider does not list its keys")
    }
    for _ in 0..<4 { _ = try await trial.generateAny() }
    let all = try await trial.list()
    try expect(all == all.sorted(), "The inventory is not in order of names.")
    for limit in [1, 3] {
      var paged: [KeyVersionID] = []
      while true {
        let page = try await working("Listing \(limit) keys") { () async throws(KeyCustodyError) in
          try await inventory.versions(after: paged.last, limit: limit)
        }
        try expect(page.count <= limit, "Asked for at most \(limit) keys, got \(page.count).")
        if page.isEmpty { break }
        paged += page
        try expect(paged.count <= all.count, "Paging by \(limit) does not end.")
      }
      try expect(paged == all, "Paging by \(limit) lists \(paged), all at once \(all).")
    }
  }

  @Sendable private static func probeWorks(_ trial: KeyTrial) async throws {
    try await working("The probe without a key") { () async throws(KeyCustodyError) in
      try await trial.provider.probe(nil, context: trial.context)
    }
    for type in Set(trial.wrapping.map(\.type)) {
      let key = try await trial.generate(type, .wrapping)
      try await working("The probe with an \(type) key") { () async throws(KeyCustodyError) in
        try await trial.provider.probe(key.version, context: trial.context)
      }
    }
  }
}

extension KeyTrial {
  func destroy(_ version: KeyVersionID) async throws {
    try await working("Destroying a key") { () async throws(KeyCustodyError) in
      try await provider.destroy(version, context: context)
    }
  }

  /// Every key there is, by pages.
  func list() async throws -> [KeyVersionID] {
    var all: [KeyVersionID] = []
    while let inventory = provider.inventory {
      let page = try await working("Listing keys") { () async throws(KeyCustodyError) in
        try await inventory.versions(after: all.last, limit: 100)
      }
      if page.isEmpty { break }
      all += page
      try expect(all.count < 1_000_000, "Listing keys does not end.")
    }
    return all
  }

  /// Every operation on this version must say that it is not there.
  func expectAllNotFound(_ version: KeyVersionID, _ which: String, wrapped: [UInt8]? = nil) async throws {
    try await expectAbsent(version, which)
    for algorithm in [WrapAlgorithm.aes256KW, .rsaOAEP256, .rsaOAEP] {
      let request = request(version, algorithm)
      if capabilities.offers(.wrap(algorithm)) {
        try await refused(.notFound, .keyVersionUnknown, "Wrapping under a key \(which)") {
          () async throws(KeyCustodyError) in
          _ = try await provider.wrap(SecretBytes(copying: Self.secret), with: request)
        }
      }
      if capabilities.offers(.unwrap(algorithm)) {
        try await refused(.notFound, .keyVersionUnknown, "Unwrapping under a key \(which)") {
          () async throws(KeyCustodyError) in
          _ = try await provider.unwrap(wrapped ?? [UInt8](repeating: 7, count: 40), with: request)
        }
      }
    }
    for algorithm in SignatureAlgorithm.allCases where capabilities.offers(.sign(algorithm)) {
      try await refused(.notFound, .keyVersionUnknown, "Signing with a key \(which)") {
        () async throws(KeyCustodyError) in
        _ = try await provider.sign(digest(for: algorithm), with: request(version, algorithm))
      }
    }
    try await refused(.notFound, .keyVersionUnknown, "Probing a key \(which)") { () async throws(KeyCustodyError) in
      try await provider.probe(version, context: context)
    }
    try await refused(.notFound, .keyVersionUnknown, "Destroying a key \(which)") { () async throws(KeyCustodyError) in
      try await provider.destroy(version, context: context)
    }
  }
}
