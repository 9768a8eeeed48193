// swift-tools-version: 6.2
import PackageDescription

// Ratios against baselines that run in turn with ours in one process: on a shared machine nothing else can be compared.
let package = Package(
  name: "benchmarks",
  dependencies: [
    // With every trait, so that this package shares its build with the one above.
    .package(name: "key-custody", path: ".."),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
  ],
  targets: [
    .systemLibrary(name: "CP11Kit", pkgConfig: "p11-kit-1", providers: [.apt(["libp11-kit-dev"])]),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .target(
      name: "CBaseline", dependencies: ["CP11Kit", "CLibPQ"],
      linkerSettings: [
        .linkedLibrary("ssl"), .linkedLibrary("crypto"), .linkedLibrary("sqlite3"), .linkedLibrary("pq"),
      ]),
    .executableTarget(
      name: "bench",
      dependencies: [
        "CBaseline",
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "KeyCustodyEnvelope", package: "key-custody"),
        .product(name: "KeyCustodyMemory", package: "key-custody"),
        .product(name: "KeyCustodyFile", package: "key-custody"),
        .product(name: "KeyCustodyPKCS11", package: "key-custody"),
        .product(name: "KeyCustodySQLite", package: "key-custody"),
        .product(name: "KeyCustodyPostgreSQL", package: "key-custody"),
        .product(name: "keycustody", package: "key-custody"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ], swiftSettings: [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
  ],
  swiftLanguageModes: [.v6]
)
