// swift-tools-version: 6.2
import PackageDescription

// Every trait is on by default. An embedder writes `traits: []` and names the ones it wants, and then fetches only swift-log.
let package = Package(
  name: "key-custody",
  products: [
    .library(name: "KeyCustody", targets: ["KeyCustody", "KeyCustodyVault", "KeyCustodyServices"]),
    .library(name: "KeyCustodyEnvelope", targets: ["KeyCustodyEnvelope"]),
    .library(name: "KeyCustodyTesting", targets: ["KeyCustodyTesting"]),
    .library(name: "KeyCustodyMemory", targets: ["KeyCustodyMemory"]),
    .library(name: "KeyCustodyFile", targets: ["KeyCustodyFile"]),
    .library(name: "KeyCustodyPKCS11", targets: ["KeyCustodyPKCS11"]),
    .executable(name: "keycustody", targets: ["KeyCustodyCommand"]),
  ],
  traits: [
    .trait(name: "CommandLine", description: "The keycustody executable (swift-argument-parser)."),
    .trait(name: "ConfigurationSupport", description: "Configuration read through swift-configuration."),
    .default(enabledTraits: ["CommandLine", "ConfigurationSupport"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
  ],
  targets: [
    // The core: the domain and every seam. No C library, no HTTP, no database.
    .target(
      name: "KeyCustody",
      dependencies: [
        .product(name: "Logging", package: "swift-log"),
        .product(
          name: "Configuration", package: "swift-configuration",
          condition: .when(traits: ["ConfigurationSupport"])),
      ]),
    .systemLibrary(
      name: "CKeyCustodyOpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .target(name: "KeyCustodyCrypto", dependencies: ["KeyCustody", "CKeyCustodyOpenSSL"]),
    .target(name: "KeyCustodyEnvelope", dependencies: ["KeyCustody", "KeyCustodyCrypto"]),
    .target(name: "KeyCustodyVault", dependencies: ["KeyCustody", "KeyCustodyCrypto"]),
    .target(
      name: "KeyCustodyServices",
      dependencies: ["KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyVault"]),
    .target(name: "KeyCustodyTesting", dependencies: ["KeyCustody"]),

    // The ring: one folder a backend. A plugin imports the core and Crypto, never another plugin.
    .target(
      name: "KeyCustodyMemory", dependencies: ["KeyCustody", "KeyCustodyCrypto"],
      path: "Plugins/Memory/KeyCustodyMemory"),
    .target(
      name: "KeyCustodyFile", dependencies: ["KeyCustody", "KeyCustodyCrypto"],
      path: "Plugins/File/KeyCustodyFile"),
    .systemLibrary(
      name: "CKeyCustodyPKCS11", path: "Plugins/PKCS11/CKeyCustodyPKCS11", pkgConfig: "p11-kit-1",
      providers: [.apt(["libp11-kit-dev"])]),
    .target(
      name: "KeyCustodyPKCS11", dependencies: ["KeyCustody", "KeyCustodyCrypto", "CKeyCustodyPKCS11"],
      path: "Plugins/PKCS11/KeyCustodyPKCS11"),

    .executableTarget(
      name: "KeyCustodyCommand",
      dependencies: [
        "KeyCustody", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyEnvelope", "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyPKCS11",
        .product(name: "Logging", package: "swift-log"),
        .product(
          name: "ArgumentParser", package: "swift-argument-parser",
          condition: .when(traits: ["CommandLine"])),
      ]),

    // What several test targets share: temporary folders, SoftHSM tokens, vectors.
    .target(
      name: "KeyCustodyTestSupport",
      dependencies: ["KeyCustody", "KeyCustodyPKCS11"], path: "Tests/Support"),
    .testTarget(
      name: "KeyCustodyTests",
      dependencies: [
        "KeyCustody", "KeyCustodyTesting",
        .product(
          name: "Configuration", package: "swift-configuration",
          condition: .when(traits: ["ConfigurationSupport"])),
      ]),
    .testTarget(
      name: "KeyCustodyCryptoTests", dependencies: ["KeyCustody", "KeyCustodyCrypto", "KeyCustodyTestSupport"]),
    .testTarget(
      name: "KeyCustodyEnvelopeTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyMemory", "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyVaultTests",
      dependencies: ["KeyCustody", "KeyCustodyVault", "KeyCustodyMemory", "KeyCustodyTesting", "KeyCustodyTestSupport"]),
    .testTarget(
      name: "KeyCustodyServicesTests",
      dependencies: [
        "KeyCustody", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyTesting", "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyMemoryTests",
      dependencies: ["KeyCustody", "KeyCustodyCrypto", "KeyCustodyMemory", "KeyCustodyTesting"]),
    .testTarget(
      name: "KeyCustodyFileTests",
      dependencies: ["KeyCustody", "KeyCustodyCrypto", "KeyCustodyFile", "KeyCustodyTesting", "KeyCustodyTestSupport"]),
    .testTarget(
      name: "KeyCustodyPKCS11Tests",
      dependencies: [
        "KeyCustody", "KeyCustodyPKCS11", "KeyCustodyCrypto", "KeyCustodyTesting", "KeyCustodyTestSupport",
      ]),
    .testTarget(name: "KeyCustodyTestingTests", dependencies: ["KeyCustody", "KeyCustodyTesting", "KeyCustodyMemory"]),
    .testTarget(
      name: "CompositionTests",
      dependencies: [
        "KeyCustody", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyPKCS11", "KeyCustodyTesting", "KeyCustodyTestSupport",
      ]),
    .testTarget(name: "TidyTests"),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system {
  target.swiftSettings = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .strictMemorySafety(),
  ]
}
