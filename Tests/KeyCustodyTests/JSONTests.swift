import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("JSON (RFC 8259)")
struct JSONTests {
  private func read(_ text: String) throws -> JSON { try JSON(Array(text.utf8)) }

  @Test(
    "Values are read, and written again, without white space",
    arguments: [
      ("null", JSON.null, "null"), (" true\n", .bool(true), "true"), ("\tfalse\r", .bool(false), "false"),
      ("0", .integer(0), "0"), ("-0", .integer(0), "0"), ("-1", .integer(-1), "-1"),
      ("9223372036854775807", .integer(.max), "9223372036854775807"),
      ("-9223372036854775808", .integer(.min), "-9223372036854775808"),
      ("1.0", .number(1), "1.0"), ("-1.5e3", .number(-1500), "-1500.0"), ("1E+2", .number(100), "100.0"),
      ("0.1", .number(0.1), "0.1"), ("5e-324", .number(.leastNonzeroMagnitude), "5e-324"),
      (#""""#, .string(""), #""""#), (#""aä€😀""#, .string("aä€😀"), #""aä€😀""#),
      ("[]", .array([]), "[]"), ("[ 1 , [2] ,{ } ]", .array([1, [2], [:]]), "[1,[2],{}]"),
      (#"{ "b" : 1 , "a" : [ null ] }"#, ["b": 1, "a": [nil]], #"{"b":1,"a":[null]}"#),
      (#"{"":0}"#, ["": 0], #"{"":0}"#),
    ] as [(String, JSON, String)])
  func values(_ text: String, _ value: JSON, _ written: String) throws {
    #expect(try read(text) == value)
    #expect(String(decoding: value.bytes, as: UTF8.self) == written)
    #expect(try JSON(value.bytes) == value)
  }

  @Test(
    "Escapes are read; of them only those that must be are written",
    arguments: [
      (#"\"\\\/"#, "\"\\/", #"\"\\/"#), (#"\b\f\n\r\t"#, "\u{8}\u{c}\n\r\t", #"\b\f\n\r\t"#),
      (#"\u0000\u001F"#, "\u{0}\u{1f}", #"\u0000\u001f"#), (#"\u00e4\u20AC"#, "ä€", "ä€"),
      (#"\uD83D\uDE00"#, "😀", "😀"), (#"a\u0041b"#, "aAb", "aAb"),
      ("\u{7f}\u{2028}", "\u{7f}\u{2028}", "\u{7f}\u{2028}"),
    ])
  func escapes(_ text: String, _ value: String, _ written: String) throws {
    #expect(try read("\"\(text)\"") == .string(value))
    #expect(String(decoding: JSON.string(value).bytes, as: UTF8.self) == "\"\(written)\"")
  }

  @Test(
    "What is not JSON is refused, and the place is named",
    arguments: [
      "", " ", "nul", "nulll", "True", "tru", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e",
      "1e+",
      "0x10", "1 2", "1,", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "]", "{", "{}}", "{\"a\"}", "{\"a\":}",
      "{\"a\":1,}",
      "{,}", "{a:1}", "{'a':1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "\"", "\"a", "'a'", "\"\\\"", "\"\\x\"",
      "\"\\u12\"", "\"\\u12g4\"", "\"\\u+123\"", "\"a\nb\"", "\"a\tb\"", "\"\u{0}\"", "\"a\\nb\nc\"", "// a\n1",
      "1 // a",
      "/**/1", "\u{feff}1", "1\u{0}", "\u{a0}1", "[1\u{0b}]", "１",
    ])
  func malformed(_ text: String) throws {
    let error = #expect(throws: KeyCustodyError.self) { try read(text) }
    #expect(error == KeyCustodyError(.invalidInput, .malformed, ""))
    #expect(error?.diagnostic?.hasPrefix("at byte ") == true)
  }

  @Test("The diagnostic names the byte")
  func offset() throws {
    let error = #expect(throws: KeyCustodyError.self) { try read(#"{"a":1,"a":2}"#) }
    #expect(error?.diagnostic == "at byte 10")
  }

  @Test(
    "Numbers beyond their types are refused",
    arguments: ["9223372036854775808", "-9223372036854775809", "1e309", "-1e400", "1e99999999999999999999"])
  func largeNumbers(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read(text) }
  }

  @Test(
    "Half a surrogate pair is refused, escaped or encoded",
    arguments: [#""\uD800""#, #""\uDC00""#, #""\uD800\u0041""#, #""\uD800\uD800""#, #""\uDE00\uD83D""#, #""\uD83Dx""#])
  func surrogates(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read(text) }
  }

  @Test(
    "Text that is not UTF-8 is refused",
    arguments: [
      [0xff], [0xc3], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
      [0xf8, 0x88, 0x80],
      [0x80],
    ] as [[UInt8]])
  func notUTF8(_ bytes: [UInt8]) {
    let quote = UInt8(ascii: "\"")
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try JSON([quote] + bytes + [quote]) }
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try JSON([quote] + bytes + Array(#"\n""#.utf8)) }
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try JSON(bytes) }
  }

  @Test(
    "A name that stands twice is refused, however it is written and wherever it stands",
    arguments: [
      #"{"a":1,"a":1}"#, #"{"a":1,"\u0061":2}"#, #"[{"x":{"a":1,"b":2,"a":3}}]"#, "{\"\u{e4}\":1,\"a\u{308}\":2}",
      #"{"":1,"":2}"#,
    ])
  func duplicates(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read(text) }
  }

  @Test("A name that stands twice among many is found", arguments: [1, 7, 8, 9, 100, 5000])
  func duplicatesAmongMany(_ count: Int) throws {
    let members = (0..<count).map { "\"n\($0)\":\($0)" }
    #expect(try read("{\(members.joined(separator: ","))}").object?.members.count == count)
    for index in [0, count / 2, count - 1] {
      let twice = members + ["\"n\(index)\":0"]
      #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read("{\(twice.joined(separator: ","))}") }
    }
  }

  @Test("Nesting goes 32 deep and no deeper", arguments: [("[", "]"), ("{\"a\":", "}")])
  func depth(_ open: String, _ close: String) throws {
    func nested(_ depth: Int) -> String {
      String(repeating: open, count: depth) + "0" + String(repeating: close, count: depth)
    }
    #expect(throws: Never.self) { try read(nested(32)) }
    for depth in [33, 100_000] {
      #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read(nested(depth)) }
    }
  }

  @Test("A member is found by its exact bytes alone")
  func lookup() throws {
    let value = try read("{\"\u{212a}id\":1,\"kid\":2,\"ki\":3}")
    #expect(value["Kid"] == nil)
    #expect(value["kid"] == 2)
    #expect(value["\u{212a}id"] == 1)
    #expect(JSON.array([])["kid"] == nil)
  }

  @Test("Members keep their order through changes")
  func order() {
    var object = JSON.Object()
    for name in ["c", "a", "b"] { object[name] = .string(name) }
    object["a"] = 1
    object["c"] = nil
    object["d"] = nil
    object["c"] = 2
    #expect(String(decoding: JSON.object(object).bytes, as: UTF8.self) == #"{"a":1,"b":"b","c":2}"#)
  }

  @Test("A number that is not finite is written as null")
  func notFinite() {
    let value = JSON.array([.number(.infinity), .number(.nan), .number(-.infinity)])
    #expect(String(decoding: value.bytes, as: UTF8.self) == "[null,null,null]")
  }

  @Test("Every scalar of Unicode comes back from a text and from an escape")
  func everyScalar() throws {
    let scalars = (UInt32(0)...0x10ffff).compactMap(Unicode.Scalar.init).map(Character.init)
    for start in stride(from: 0, to: scalars.count, by: 4096) {
      let text = String(scalars[start..<min(start + 4096, scalars.count)])
      let read = try JSON(JSON.string(text).bytes).string
      #expect(read.map { Array($0.utf8) } == Array(text.utf8))
    }
  }

  @Test("Values made at random come back, and no cut of their text is taken")
  func randomValues() throws {
    let random = SeededRandom(seed: 8259)
    for _ in 0..<300 {
      let value = Self.value(random, depth: 4)
      let bytes = value.bytes
      #expect(try JSON(bytes) == value)
      guard case .array = value else { continue }
      for end in 0..<min(bytes.count, 200) { #expect(throws: KeyCustodyError.self) { try JSON(Array(bytes[..<end])) } }
    }
  }

  private static func value(_ random: SeededRandom, depth: Int) -> JSON {
    switch random.next() % (depth > 0 ? 8 : 5) {
    case 0: return .null
    case 1: return .bool(random.next().isMultiple(of: 2))
    case 2: return .integer(Int64(truncatingIfNeeded: random.next()))
    case 3:
      let number = Double(bitPattern: random.next())
      return .number(number.isFinite ? number : 0.5)
    case 4: return .string(text(random))
    case 5, 6: return .array((0..<random.next() % 5).map { _ in value(random, depth: depth - 1) })
    default:
      var object = JSON.Object()
      for _ in 0..<random.next() % 12 { object[text(random)] = value(random, depth: depth - 1) }
      return .object(object)
    }
  }

  private static func text(_ random: SeededRandom) -> String {
    let letters = Array("ab\"\\/\n\u{1}äß€😀\u{7f}")
    return String((0..<random.next() % 8).map { _ in letters[Int(random.next() % UInt64(letters.count))] })
  }
}
