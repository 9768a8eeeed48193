// swift-tools-version: 6.2
import PackageDescription

// Bound at its first call, a function lets the dynamic linker save the vector registers, where a copied secret may lie still,
// on the stack. Executables of ours only, so embedders build without unsafe flags.
let bindsAtStart: [LinkerSetting] = [
  .unsafeFlags(["-Xlinker", "-z", "-Xlinker", "now"], .when(platforms: [.linux]))
]

// Every trait is on by default. An embedder writes `traits: []` and names the ones it wants, and then fetches only swift-log.
let package = Package(
  name: "key-custody",
  products: [
    .library(name: "KeyCustody", targets: ["KeyCustody", "KeyCustodyVault", "KeyCustodyServices"]),
    .library(name: "KeyCustodyEnvelope", targets: ["KeyCustodyEnvelope"]),
    .library(name: "KeyCustodyTesting", targets: ["KeyCustodyTesting"]),
    .library(name: "KeyCustodyMemory", targets: ["KeyCustodyMemory"]),
    .library(name: "KeyCustodyFile", targets: ["KeyCustodyFile"]),
    .library(name: "KeyCustodySQLite", targets: ["KeyCustodySQLite"]),
    .library(name: "KeyCustodyPostgreSQL", targets: ["KeyCustodyPostgreSQL"]),
    .library(name: "KeyCustodyPKCS11", targets: ["KeyCustodyPKCS11"]),
    .library(name: "KeyCustodyOIDC", targets: ["KeyCustodyOIDC"]),
    .library(name: "KeyCustodyAzureKeyVault", targets: ["KeyCustodyAzureKeyVault"]),
    .library(name: "KeyCustodyFaultModule", type: .dynamic, targets: ["KeyCustodyFaultModule"]),
    .library(name: "KeyCustodyServer", targets: ["KeyCustodyServer"]),
    .executable(name: "keycustody", targets: ["KeyCustodyCommand"]),
  ],
  traits: [
    .trait(name: "CommandLine", description: "The keycustody executable (swift-argument-parser)."),
    .trait(name: "ConfigurationSupport", description: "Configuration read through swift-configuration."),
    .trait(name: "Server", description: "The vault over HTTPS (Hummingbird)."),
    .trait(name: "SQLite", description: "A policy store in a SQLite file (GRDB)."),
    .trait(name: "PostgreSQL", description: "A policy store in a PostgreSQL database (libpq)."),
    .trait(name: "OIDC", description: "Tokens of outside issuers (async-http-client)."),
    .trait(name: "AzureKeyVault", description: "Keys in a vault over HTTPS, ours or Azure's (async-http-client)."),
    .default(enabledTraits: [
      "CommandLine", "ConfigurationSupport", "Server", "SQLite", "PostgreSQL", "OIDC", "AzureKeyVault",
    ]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
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
    .target(
      name: "KeyCustodyVault",
      dependencies: ["KeyCustody", "KeyCustodyCrypto", .product(name: "Logging", package: "swift-log")]),
    .target(
      name: "KeyCustodyServices",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyVault",
        .product(name: "Logging", package: "swift-log"),
      ]),
    // The vault over HTTPS.
    .target(
      name: "KeyCustodyServer",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyServices",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Server"])),
        .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Server"])),
        .product(name: "HummingbirdCore", package: "hummingbird", condition: .when(traits: ["Server"])),
        .product(name: "HummingbirdTLS", package: "hummingbird", condition: .when(traits: ["Server"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["Server"])),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["Server"])),
      ]),
    .target(name: "KeyCustodyTesting", dependencies: ["KeyCustody"]),
    // A PKCS#11 module in C that forwards to a real one and injects faults. Nothing links it: tests load copies of it.
    .target(
      name: "KeyCustodyFaultModule",
      linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),

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
    // Built with the trait alone: without it GRDB is not fetched.
    .target(
      name: "KeyCustodySQLite",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto",
        .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["SQLite"])),
      ], path: "Plugins/SQLite/KeyCustodySQLite"),
    // The trait keeps libpq out of what does not ask for it; its headers are looked for in builds of this target alone.
    .systemLibrary(
      name: "CKeyCustodyPostgreSQL", path: "Plugins/PostgreSQL/CKeyCustodyPostgreSQL", pkgConfig: "libpq",
      providers: [.apt(["libpq-dev"])]),
    .target(
      name: "KeyCustodyPostgreSQL",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", .product(name: "Logging", package: "swift-log"),
        .target(name: "CKeyCustodyPostgreSQL", condition: .when(traits: ["PostgreSQL"])),
      ], path: "Plugins/PostgreSQL/KeyCustodyPostgreSQL"),
    .target(
      name: "KeyCustodyOIDC",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto",
        .product(name: "Logging", package: "swift-log"),
        .product(
          name: "AsyncHTTPClient", package: "async-http-client", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["OIDC"])),
      ], path: "Plugins/OIDC/KeyCustodyOIDC"),
    .target(
      name: "KeyCustodyAzureKeyVault",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto",
        .product(name: "Logging", package: "swift-log"),
        .product(
          name: "AsyncHTTPClient", package: "async-http-client", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["AzureKeyVault"])),
      ], path: "Plugins/AzureKeyVault/KeyCustodyAzureKeyVault"),

    .executableTarget(
      name: "KeyCustodyCommand",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyEnvelope",
        "KeyCustodyMemory", "KeyCustodyFile", "KeyCustodyPKCS11",
        .target(name: "KeyCustodyServer", condition: .when(traits: ["Server"])),
        .target(name: "KeyCustodySQLite", condition: .when(traits: ["SQLite"])),
        .target(name: "KeyCustodyPostgreSQL", condition: .when(traits: ["PostgreSQL"])),
        .target(name: "KeyCustodyOIDC", condition: .when(traits: ["OIDC"])),
        .target(name: "KeyCustodyAzureKeyVault", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Server"])),
        .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Server"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["Server"])),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["Server"])),
        .product(
          name: "ArgumentParser", package: "swift-argument-parser",
          condition: .when(traits: ["CommandLine"])),
      ], linkerSettings: bindsAtStart),

    // What several test targets share: temporary folders, SoftHSM tokens, vectors.
    .target(
      name: "KeyCustodyTestSupport",
      dependencies: ["KeyCustody", "KeyCustodyPKCS11"], path: "Tests/Support"),
    // Long runs under injected faults; `make faults` starts them.
    .executableTarget(
      name: "KeyCustodyFaultRuns",
      dependencies: [
        "KeyCustody", "KeyCustodyPKCS11", "KeyCustodyCrypto", "KeyCustodyTestSupport",
        .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/FaultRuns"),
    // A database server and a served vault that are killed under load, again and again; `make crash` starts it.
    .executableTarget(
      name: "KeyCustodyCrashRuns",
      dependencies: [
        "KeyCustody", "KeyCustodyVault", "KeyCustodyFile", "KeyCustodySQLite", "KeyCustodyPostgreSQL",
        "KeyCustodyTestSupport",
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["Server"])),
      ], path: "Tests/CrashRuns"),
    // Two processes that use customers' keys while access is withdrawn; `make revocation` starts them.
    .executableTarget(
      name: "KeyCustodyRevocationRuns",
      dependencies: [
        "KeyCustody", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyPKCS11", "KeyCustodyPostgreSQL",
        "KeyCustodyTestSupport", .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/RevocationRuns"),
    // Every backend of ours as a subject of the kit, with faults beneath it; and the report over all of them.
    .target(
      name: "KeyCustodySubjects",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyMemory", "KeyCustodyFile", "KeyCustodyPKCS11",
        "KeyCustodySQLite", "KeyCustodyPostgreSQL", "KeyCustodyTesting", "KeyCustodyTestSupport",
        .product(name: "GRDBSQLite", package: "GRDB.swift", condition: .when(traits: ["SQLite"])),
      ], path: "Tests/Subjects"),
    // Vaults over HTTPS in a test's own process.
    .target(
      name: "KeyCustodyServedVaults",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyServer",
        "KeyCustodyMemory", "KeyCustodyAzureKeyVault", "KeyCustodyTesting", "KeyCustodyTestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(
          name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["AzureKeyVault"])),
      ], path: "Tests/ServedVaults"),
    // A process that records audit events until it is killed.
    .executableTarget(
      name: "KeyCustodyAuditProbe", dependencies: ["KeyCustody", "KeyCustodyVault", "KeyCustodyFile"],
      path: "Tests/AuditProbe"),
    // A process that writes records until it is killed.
    .executableTarget(
      name: "KeyCustodySQLiteProbe", dependencies: ["KeyCustody", "KeyCustodySQLite"], path: "Tests/SQLiteProbe"),
    // Processes of one deployment, and everything that can go wrong, by seeds.
    .executableTarget(
      name: "Simulation",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices",
        "KeyCustodyMemory", "KeyCustodyTesting", .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/Simulation"),
    .executableTarget(
      name: "KitReport", dependencies: ["KeyCustodyTesting", "KeyCustodySubjects"], path: "Tests/KitReport"),
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
      ], exclude: ["Golden"]),
    .testTarget(
      name: "KeyCustodyVaultTests",
      dependencies: [
        "KeyCustody", "KeyCustodyVault", "KeyCustodyMemory", "KeyCustodyTesting", "KeyCustodySubjects",
        "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyServicesTests",
      dependencies: [
        "KeyCustody", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyTesting", "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyMemoryTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyMemory", "KeyCustodyTesting", "KeyCustodySubjects",
        "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyFileTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyFile", "KeyCustodyTesting", "KeyCustodySubjects",
        "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodySQLiteTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodySQLite", "KeyCustodyVault", "KeyCustodyMemory",
        "KeyCustodyTesting", "KeyCustodySubjects", "KeyCustodyTestSupport",
        .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["SQLite"])),
      ]),
    .testTarget(
      name: "KeyCustodyPostgreSQLTests",
      dependencies: [
        "KeyCustody", "KeyCustodyPostgreSQL", "KeyCustodyTesting", "KeyCustodySubjects", "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyPKCS11Tests",
      dependencies: [
        "KeyCustody", "KeyCustodyPKCS11", "KeyCustodyCrypto", "KeyCustodyTesting", "KeyCustodySubjects",
        "KeyCustodyTestSupport",
      ]),
    .testTarget(
      name: "KeyCustodyOIDCTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyOIDC", "KeyCustodyTesting", "KeyCustodyTestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["OIDC"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["OIDC"])),
      ]),
    .testTarget(
      name: "KeyCustodyAzureKeyVaultTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyServer",
        "KeyCustodyMemory", "KeyCustodyAzureKeyVault", "KeyCustodyServedVaults", "KeyCustodyTesting",
        "KeyCustodyTestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["AzureKeyVault"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["AzureKeyVault"])),
        .product(
          name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["AzureKeyVault"])),
      ]),
    .testTarget(
      name: "KeyCustodyFaultModuleTests",
      dependencies: ["KeyCustody", "KeyCustodyPKCS11", "CKeyCustodyPKCS11", "KeyCustodyTestSupport"]),
    .testTarget(
      name: "KeyCustodyServerTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyServer",
        "KeyCustodyMemory", "KeyCustodyPKCS11", "KeyCustodyTesting", "KeyCustodyTestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Server"])),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["Server"])),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["Server"])),
      ]),
    .testTarget(name: "KeyCustodyTestingTests", dependencies: ["KeyCustody", "KeyCustodyTesting", "KeyCustodyMemory"]),
    .testTarget(
      name: "CompositionTests",
      dependencies: [
        "KeyCustody", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices", "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyPKCS11", "KeyCustodySQLite", "KeyCustodyPostgreSQL", "KeyCustodyTesting",
        "KeyCustodyTestSupport", "KeyCustodyServedVaults",
      ]),
    // A process whose memory is searched for secrets from outside, and what searches it.
    .executableTarget(
      name: "KeyCustodySecretsProbe",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyVault", "KeyCustodyServices",
        "KeyCustodyMemory",
        "KeyCustodyFile", "KeyCustodyPKCS11", "KeyCustodyTestSupport",
      ], path: "Tests/SecretsProbe", linkerSettings: bindsAtStart),
    .target(name: "KeyCustodyMemoryScan", path: "Tests/MemoryScan"),
    .testTarget(
      name: "SecretsTests",
      dependencies: [
        "KeyCustody", "KeyCustodyCrypto", "KeyCustodyEnvelope", "KeyCustodyMemoryScan", "KeyCustodyTesting",
        "KeyCustodyTestSupport",
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
