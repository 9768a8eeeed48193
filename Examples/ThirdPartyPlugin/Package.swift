// swift-tools-version: 6.2
import PackageDescription

// A plugin as somebody outside of KeyCustody writes it: public API only. In your package the first dependency is a URL.
let package = Package(
  name: "key-custody-acme",
  products: [.library(name: "KeyCustodyAcme", targets: ["KeyCustodyAcme"])],
  dependencies: [
    .package(name: "key-custody", path: "../..", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
  ],
  targets: [
    .target(
      name: "KeyCustodyAcme",
      dependencies: [
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .testTarget(
      name: "KeyCustodyAcmeTests",
      dependencies: [
        "KeyCustodyAcme",
        .product(name: "KeyCustody", package: "key-custody"),
        .product(name: "KeyCustodyTesting", package: "key-custody"),
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
