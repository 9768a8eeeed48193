// swift-tools-version: 6.2
import PackageDescription

// Programs that use KeyCustody as any other package would. `name:` is given because the checkout may be called anything.
let keyCustody: (String) -> Target.Dependency = { .product(name: $0, package: "key-custody") }

let package = Package(
  name: "examples",
  dependencies: [
    // With every trait, so that this package shares its build with the one above. A program that serves no vault writes
    // `traits: []`, and then fetches swift-log alone.
    .package(name: "key-custody", path: ".."),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // Exactly the program of README.md; check-readme.sh compares them.
    .executableTarget(name: "Embedding", dependencies: [keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory")]),
    .executableTarget(
      name: "SwappingBackends",
      dependencies: [
        keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory"), keyCustody("KeyCustodyFile"),
        keyCustody("KeyCustodyPKCS11"),
      ], exclude: ["memory.json", "file.json", "softhsm.json", "run.sh"]),
    .executableTarget(
      name: "Streaming",
      dependencies: [keyCustody("KeyCustody"), keyCustody("KeyCustodyEnvelope"), keyCustody("KeyCustodyMemory")]),
    .executableTarget(
      name: "RevokeAndRestore", dependencies: [keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory")]),
    .executableTarget(
      name: "OwnStorage",
      dependencies: [
        keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory"), keyCustody("KeyCustodyTesting"),
      ]),
    .executableTarget(
      name: "MountedVault",
      dependencies: [
        keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory"), keyCustody("KeyCustodyServer"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ], exclude: ["run.sh"]),
    .executableTarget(
      name: "Notes",
      dependencies: [
        keyCustody("KeyCustody"), keyCustody("KeyCustodyMemory"), keyCustody("KeyCustodyFile"),
        keyCustody("KeyCustodyPKCS11"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ], exclude: ["memory.json", "file.json", "softhsm.json", "README.md", "run.sh"]),
  ],
  swiftLanguageModes: [.v6]
)
