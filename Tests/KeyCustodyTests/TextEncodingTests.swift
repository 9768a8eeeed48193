import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Text forms of bytes")
struct TextEncodingTests {
  @Test(
    "RFC 4648, section 10: the test vectors, in the URL alphabet and without padding",
    arguments: [
      ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
      ("foobar", "Zm9vYmFy"),
    ])
  func vectors(_ plain: String, _ encoded: String) {
    #expect([UInt8](utf8: plain).base64URL == encoded)
    #expect([UInt8](base64URL: encoded) == [UInt8](utf8: plain))
  }

  @Test("RFC 4648, section 5: the last two letters of the alphabet are - and _")
  func alphabet() {
    let bytes: [UInt8] = [0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff]
    #expect(bytes.base64URL == "----____")
    #expect([UInt8](base64URL: "----____") == bytes)
  }

  @Test("Bytes of every length come back")
  func roundTrips() throws {
    let random = SeededRandom(seed: 1)
    for count in 0..<100 {
      let bytes = try random.bytes(count)
      #expect([UInt8](base64URL: bytes.base64URL) == bytes)
      #expect([UInt8](hexadecimal: bytes.hexadecimal) == bytes)
    }
  }

  @Test(
    "Padding is taken where it is complete",
    arguments: [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")])
  func padded(_ encoded: String, _ plain: String) {
    #expect([UInt8](base64URL: encoded) == [UInt8](utf8: plain))
  }

  @Test(
    "Anything else is refused",
    arguments: [
      "Z", "Zm9vY", "Zg=", "Zg===", "=", "==", "===", "====", "Z===", "Zm9v====", "Zm9v=", "Zm9v==", "=Zg=", "Z=g=",
      "Zg==Zg==", "Zm+v", "Zm/v", "Zm9v ", " Zm9v", "Zm\n9v", "Zm9v\n", "Zm.v", "Zmäv", "Z\u{0}9v", "Ｚm9v", "Zg%3D%3D",
    ])
  func refused(_ text: String) {
    #expect([UInt8](base64URL: text) == nil)
  }

  @Test("RFC 4648, section 3.5: stray bits at the end are refused, so that bytes have one form")
  func strayBits() {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    let two = alphabet.filter { [UInt8](base64URL: "Z\($0)") != nil }
    let three = alphabet.filter { [UInt8](base64URL: "Zm\($0)") != nil }
    #expect(two == ["A", "Q", "g", "w"])
    #expect(three.count == 16)
  }

  @Test("Hexadecimal is written in lower case and read in either")
  func hexadecimal() {
    let bytes: [UInt8] = [0x00, 0x0f, 0xab, 0xff]
    #expect(bytes.hexadecimal == "000fabff")
    #expect([UInt8](hexadecimal: "000FaBff") == bytes)
    #expect([UInt8](hexadecimal: "") == [])
  }

  @Test(
    "What is not hexadecimal is refused",
    arguments: ["0", "000", "0g", "g0", " 0", "0 ", "-1", "+1", "0x", "００", "0\n", "\u{0}0"])
  func notHexadecimal(_ text: String) {
    #expect([UInt8](hexadecimal: text) == nil)
  }
}
