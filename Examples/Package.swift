// swift-tools-version: 6.2
import PackageDescription

// Programs that use KeyCustody as any other package would. `name:` is given because the checkout may be called anything.
let keyCustody: (String) -> Target.Dependency = { .product(name: $0, package: "key-custody") }

let package = Package(
  name: "examples",
  dependencies: [.package(name: "key-custody", path: "..", traits: [])],
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
  ],
  swiftLanguageModes: [.v6]
)
