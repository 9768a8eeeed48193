// swift-tools-version: 6.2
import PackageDescription

// Ratios against baselines that run in turn with ours in one process: on a shared machine nothing else can be compared.
let package = Package(
  name: "benchmarks",
  dependencies: [
    .package(name: "key-custody", path: "..", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
  ],
  targets: [
    .target(name: "CBaseline", linkerSettings: [.linkedLibrary("crypto")]),
    .executableTarget(
      name: "bench",
      dependencies: [
        "CBaseline",
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "KeyCustodyMemory", package: "key-custody"),
        .product(name: "Crypto", package: "swift-crypto"),
      ], swiftSettings: [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
  ],
  swiftLanguageModes: [.v6]
)
