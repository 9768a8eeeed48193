import Foundation
import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// No name, however made, forges a record (RELIABILITY 23).
struct AuditLineTests {
  private struct Line: Decodable {
    var v: Int
    var n: UInt64
    var kept: UInt64
    var prev: String
    var time: Int64
    var principal: String
    var method: String
    var action: String
    var target: String
    var resource: String?
    var rule: String
    var outcome: String
    var error: String?
    var request: String
    var source: String?
    var detail: String?
  }

  /// Texts that try to end a line, close a string, steer a terminal, or look like something else.
  private static func hostile(_ count: Int) -> [String] {
    let pieces = [
      "\n", "\r\n", "\r", "\u{2028}", "\u{2029}", "\u{85}", "\0", "\"", "\\", "\\u000a", "\"}\n{\"v\":1", "\u{1b}[2J",
      "\u{1b}]0;x\u{7}", "\u{202e}", "\u{200b}", "\u{feff}", "\u{7f}", "\u{9b}31m", "é", "e\u{301}", "😀", "\u{10ffff}",
      "\",\"outcome\":\"allowed", "null", "{}", "[", ",", " ", "\t", "\u{e0001}", "admin", "contoso/owner", "\u{fffd}",
      String(repeating: "x", count: 5000), String(repeating: "\n", count: 300),
      String(repeating: "\u{10ffff}", count: 900),
    ]
    var random = Dice(seed: 23)
    return (0..<count).map { number in
      (0..<Int.random(in: 1...6, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
        + (number.isMultiple(of: 7) ? "" : "\(number)")
    }
  }

  @Test("V11: 500 hostile texts in every field are each one record of one line")
  func forging() async throws {
    let bench = try await AuditBench()
    let log = try await bench.open()
    let texts = Self.hostile(500)
    for text in texts {
      try await log.record(
        AuditEvent(
          time: Timestamp(milliseconds: -5), principal: text, method: text, action: text, target: text, resource: text,
          rule: text, outcome: .refused, error: text, requestID: text, source: text, detail: text))
    }
    await log.close()
    let bytes = try bench.folder.read("audit/audit-00000001.jsonl")
    #expect(bytes.allSatisfy { $0 == 0x0a || (0x20...0x7e).contains($0) })
    let lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
    #expect(lines.count == 501 && lines.last?.isEmpty == true)
    for (number, line) in lines.dropLast().enumerated() {
      #expect(line.count <= AuditRecord.longestLine)
      let found = try JSONDecoder().decode(Line.self, from: Data(line))
      let text = texts[number]
      #expect(found.n == UInt64(number) && found.outcome == "refused" && found.v == 1 && found.time == -5)
      let fields = [
        (found.principal, 256), (found.method, 32), (found.action, 64), (found.target, 512),
        (found.resource ?? "", 128),
        (found.rule, 256), (found.error ?? "", 128), (found.request, 128), (found.source ?? "", 64),
        (found.detail ?? "", 512),
      ]
      for (field, limit) in fields {
        if text.unicodeScalars.count <= limit {
          #expect(Array(field.unicodeScalars) == Array(text.unicodeScalars))
        } else {
          #expect(field.unicodeScalars.count <= limit && field.contains("...#"))
        }
      }
      let names = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]).count
      #expect(names == 16, "no member twice, none beside")
    }
    let found = try bench.verify()
    #expect(found.finding == nil && found.records == 500)
  }

  @Test("Texts that are cut stay different")
  func cut() throws {
    let long = String(repeating: "a", count: 600)
    let one = try AuditBench.event("1", target: long + "1").bounded()
    let two = try AuditBench.event("1", target: long + "2").bounded()
    #expect(one.target != two.target && one.target.count == 512)
    #expect(try one.bounded() == one, "cut once")
  }

  @Test("A record is written in one way only")
  func canonical() throws {
    let record = AuditRecord(
      number: 3, kept: 2, previous: AuditRecord.noPrevious, event: AuditBench.event("é\n\"\\😀"))
    let line = String(decoding: record.line, as: UTF8.self)
    #expect(AuditRecord(line: record.line) == record)
    #expect(line.hasPrefix(#"{"v":1,"n":3,"kept":2,"prev":"AAAA"#))
    #expect(line.hasSuffix(#""error":null,"request":"\u00e9\u000a\"\\\ud83d\ude00","source":null}"#))
    let others = [
      line + " ", " " + line, line.replacing(":1,", with: ": 1,"), line.replacing(#"\u00e9"#, with: "é"),
      line.replacing(#"\u00e9"#, with: #"\u00E9"#), line.replacing(#"\u000a"#, with: #"\n"#),
      line.replacing("contoso", with: #"\u0063ontoso"#), line.replacing(#""n":3"#, with: #""n":03"#),
      line.replacing(#""v":1"#, with: #""v":2"#), line.replacing(#"\ud83d\ude00"#, with: #"\ud83d"#),
      line.replacing(#""resource":null,"#, with: ""), String(line.dropLast()), line + "{}",
      line.replacing("AAAA\"", with: "AAAB\""), line.replacing("null", with: "true"), "",
    ]
    for other in others { #expect(AuditRecord(line: Array(other.utf8)) == nil, "\(other)") }
  }
}
