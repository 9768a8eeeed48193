import Testing

@testable import KeyCustodyServices

struct EncryptionModeTests {
  @Test("E3, E6, E7, E11: every change of every mode is either one of the table or does not fit")
  func transitions() {
    let table: [EncryptionMode: [EncryptionMode.Change: EncryptionMode]] = [
      .serviceManaged: [.enable: .enabling, .settle: .serviceManaged],
      .enabling: [.settle: .customerManaged],
      .customerManaged: [.update: .updating, .disable: .disabling, .settle: .customerManaged],
      .updating: [.settle: .customerManaged],
      .disabling: [.settle: .serviceManaged],
    ]
    var count = 0
    for mode in EncryptionMode.allCases {
      for change in EncryptionMode.Change.allCases {
        #expect(mode.after(change) == table[mode]?[change], "\(mode) \(change)")
        count += 1
      }
    }
    #expect(count == 20)
  }

  @Test("E6: what is converting comes to rest, and what rests does not move by itself")
  func settling() {
    for mode in EncryptionMode.allCases {
      let settled = mode.after(.settle)
      #expect(settled?.isConverting == false, "\(mode)")
      #expect(mode.isConverting == [.enabling, .updating, .disabling].contains(mode))
    }
  }
}
