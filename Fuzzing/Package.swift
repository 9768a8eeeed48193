// swift-tools-version: 6.2
import PackageDescription

// A package of its own: libFuzzer brings its own `main`, which an ordinary build can't have. Build it with run.sh.
let package = Package(
  name: "fuzzing",
  dependencies: [.package(name: "key-custody", path: "..", traits: [])],
  targets: [
    .executableTarget(
      name: "fuzz",
      dependencies: [
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "KeyCustodyEnvelope", package: "key-custody"),
        .product(name: "KeyCustodyMemory", package: "key-custody"),
        .product(name: "KeyCustodyFile", package: "key-custody"),
      ], swiftSettings: [.enableUpcomingFeature("NonisolatedNonsendingByDefault")])
  ],
  swiftLanguageModes: [.v6]
)
