import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Key types and algorithms")
struct KeyTypeTests {
  @Test("A type is read as it is written", arguments: KeyType.offered)
  func readsItsWrittenForm(_ type: KeyType) throws {
    #expect(try KeyType(type.description) == type)
    #expect(try KeyType(type.description.uppercased()) == type)
    #expect(try roundTrip(type) == type)
  }

  @Test("The written forms are these")
  func writtenForms() {
    let forms = KeyType.offered.map(\.description)
    #expect(forms == ["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "aes-256"])
  }

  @Test(
    "Other types are refused, naming those there are",
    arguments: ["", "rsa", "rsa-1024", "aes-128", "ec-p192", "ed25519"])
  func otherTypes(_ text: String) {
    let error = #expect(throws: KeyCustodyError.self) { try KeyType(text) }
    #expect(error == KeyCustodyError(.invalidInput, .wrongKeyType, ""))
    #expect(error?.remedy.contains("rsa-2048") == true)
  }

  @Test("RFC 7518: each key type has its algorithms; EC never wraps, AES never signs")
  func fitting() {
    for type in KeyType.offered {
      let (wraps, signs) = (WrapAlgorithm.fitting(type), SignatureAlgorithm.fitting(type))
      switch type {
      case .rsa:
        #expect(wraps == [.rsaOAEP256, .rsaOAEP])
        #expect(signs == [.ps256, .rs256, .ps384, .rs384, .ps512, .rs512])
      case .aes:
        #expect(wraps == [.aes256KW])
        #expect(signs.isEmpty)
      case .ec(let curve):
        #expect(wraps.isEmpty)
        #expect(signs.map(\.digestLength) == [[.p256: 32, .p384: 48, .p521: 64][curve]])
      }
    }
    #expect(SignatureAlgorithm.allCases.map(\.digestLength) == [32, 48, 64, 32, 48, 64, 32, 48, 64])
    #expect(EllipticCurve.allCases.map(\.coordinateLength) == [32, 48, 66])
  }

  @Test("A request for a role that the type can't play is refused before any provider is asked")
  func roles() throws {
    for type in KeyType.offered {
      for role in KeyRole.allCases {
        let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: role)
        let possible =
          switch (type, role) {
          case (.ec, .wrapping), (.ec, .general), (.aes, .signing), (.aes, .general): false
          default: true
          }
        if possible {
          #expect(throws: Never.self) { try request.validate() }
        } else {
          #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) { try request.validate() }
        }
      }
    }
  }

  @Test("A fresh version name comes from the random source given")
  func freshVersionName() throws {
    #expect(try KeyVersionID(random: FixedRandom(Array(0..<16))).description == "000102030405060708090a0b0c0d0e0f")
    #expect(try KeyVersionID(random: SystemRandom()) != KeyVersionID(random: SystemRandom()))
    #expect(throws: KeyCustodyError.self) { try KeyVersionID(random: FixedRandom([1, 2, 3])) }
  }
}

@Suite("Capabilities")
struct CapabilityTests {
  private let capabilities = KeyProviderCapabilities([
    .unwrap(.rsaOAEP): .probed, .unwrap(.rsaOAEP256): .absent(why: "the token knows SHA-1 only"),
    .wrap(.rsaOAEP): .emulated(how: "with the public key, on the host"), .backup: .declared,
  ])

  @Test("What was found is offered, what is absent or was not looked for is not")
  func offers() {
    #expect(capabilities.offers(.unwrap(.rsaOAEP)))
    #expect(capabilities.offers(.wrap(.rsaOAEP)))
    #expect(capabilities.offers(.backup))
    #expect(!capabilities.offers(.unwrap(.rsaOAEP256)))
    #expect(!capabilities.offers(.sign(.es256)))
  }

  @Test("What is not offered is unsupported, and the reason is told")
  func requires() throws {
    try capabilities.require(.unwrap(.rsaOAEP))
    let error = #expect(throws: KeyCustodyError.self) { try capabilities.require(.unwrap(.rsaOAEP256)) }
    #expect(error == KeyCustodyError(.unsupported, .notOffered, ""))
    #expect(error?.message.contains("the token knows SHA-1 only") == true)
    #expect(error?.message.contains("unwrap RSA-OAEP-256") == true)
    let other = #expect(throws: KeyCustodyError.self) { try capabilities.require(.generate(.aes(bits: 256))) }
    #expect(other == KeyCustodyError(.unsupported, .notOffered, ""))
  }

  @Test("The preferred wrap algorithm is the first fitting one that unwraps")
  func preferred() {
    #expect(capabilities.preferredWrapAlgorithm(for: .rsa(bits: 2048)) == .rsaOAEP)
    #expect(capabilities.preferredWrapAlgorithm(for: .aes(bits: 256)) == nil)
    #expect(capabilities.preferredWrapAlgorithm(for: .ec(.p256)) == nil)
  }
}
