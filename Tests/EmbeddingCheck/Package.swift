// swift-tools-version: 6.2
import PackageDescription

// A service that embeds the core and one plugin and wants nothing else: what it fetches and links is checked by check.sh.
let package = Package(
  name: "embedding-check",
  dependencies: [.package(name: "key-custody", path: "../..", traits: [])],
  targets: [
    .executableTarget(
      name: "EmbeddingCheck",
      dependencies: [
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "KeyCustodyMemory", package: "key-custody"),
      ])
  ],
  swiftLanguageModes: [.v6]
)
