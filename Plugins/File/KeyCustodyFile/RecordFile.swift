import KeyCustody
import KeyCustodyCrypto

/// The file of one record.
///
/// `KCPR` ‖ format (1 byte, 1) ‖ revision (8 bytes) ‖ length of the key (2 bytes) ‖ key ‖ length of the value (4 bytes)
/// ‖ value ‖ SHA-256 of all before it. Numbers are big-endian.
enum RecordFile {
  private static let magic = Array("KCPR".utf8)
  private static let format: UInt8 = 1
  private static let digestLength = 32
  /// The largest file there is.
  static let largest = PolicyStoreLimits.valueSize + 1024

  static func encode(_ record: PolicyRecord) throws(KeyCustodyError) -> [UInt8] {
    let key = Array(record.key.description.utf8)
    let head = magic + [format] + bigEndian(record.revision.number, 8)
    let body = head + bigEndian(UInt64(key.count), 2) + key + bigEndian(UInt64(record.value.count), 4) + record.value
    return body + (try Hashing.sha256(body))
  }

  /// Reads a record's file.
  ///
  /// - Throws: `integrityFailure` (`damaged`, `unknown-format`), naming the file.
  static func decode(_ bytes: [UInt8], at path: String) throws(KeyCustodyError) -> PolicyRecord {
    guard !bytes.isEmpty else { throw .damagedFile(path, "it is empty") }
    guard bytes.count > magic.count + digestLength, bytes.starts(with: magic) else {
      throw .damagedFile(path, "it is not as it was written")
    }
    let body = Array(bytes.dropLast(digestLength))
    guard try Hashing.sha256(body) == Array(bytes.suffix(digestLength)) else {
      throw .damagedFile(path, "its content does not have the digest it names")
    }
    guard body[magic.count] == format else {
      throw KeyCustodyError(
        .integrityFailure, .unknownFormat,
        "'\(path)' is of format \(body[magic.count]), which this version does not know.",
        remedy: "Use the version that wrote it, or a later one.")
    }
    var rest = body.dropFirst(magic.count + 1)
    guard let revision = take(8, &rest), let keyLength = take(2, &rest), rest.count >= keyLength,
      let key = try? RecordKey(String(decoding: rest.prefix(Int(keyLength)), as: UTF8.self))
    else { throw .damagedFile(path, "it is not as it was written") }
    rest = rest.dropFirst(Int(keyLength))
    guard let valueLength = take(4, &rest), rest.count == valueLength else {
      throw .damagedFile(path, "it is not as it was written")
    }
    return PolicyRecord(key: key, revision: StoreRevision(revision), value: Array(rest))
  }

  static func bigEndian(_ number: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
  }

  static func take(_ count: Int, _ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    guard bytes.count >= count else { return nil }
    defer { bytes = bytes.dropFirst(count) }
    return bytes.prefix(count).reduce(0) { $0 << 8 | UInt64($1) }
  }
}

/// The name of a record's file: the record's key, escaped so that it is one name of a folder, on file systems that do
/// not tell cases apart too.
///
/// `/` is `,`, and an upper-case letter is `+` and the letter in lower case. A name of over 200 bytes is cut to 100 and
/// ends in `!` and the SHA-256 of the key; the key itself stands in the file.
enum RecordFileName {
  private static let suffix = ".record"
  private static let longest = 200
  private static let kept = 100

  static func of(_ key: RecordKey) throws(KeyCustodyError) -> String {
    let name = escape(key.description)
    guard name.utf8.count > longest else { return name + suffix }
    return "\(name.prefix(kept))!\(try Hashing.sha256(Array(key.description.utf8)).hexadecimal)\(suffix)"
  }

  /// What a file's name tells of its record's key: all of it, or how it begins; `nil` for a file that is no record's.
  static func key(of name: String) -> (text: String, isWhole: Bool)? {
    guard name.hasSuffix(suffix) else { return nil }
    let escaped = name.dropLast(suffix.count)
    let parts = escaped.split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
    let isWhole = parts.count == 1
    var text = ""
    var isUpper = false
    for letter in parts[0] {
      switch letter {
      case "+": isUpper = true
      case ",": text.append("/")
      default:
        text.append(isUpper ? letter.uppercased() : String(letter))
        isUpper = false
      }
    }
    return (text, isWhole)
  }

  private static func escape(_ key: String) -> String {
    key.reduce(into: "") { name, letter in
      if letter == "/" {
        name.append(",")
      } else if letter.isUppercase {
        name.append("+\(letter.lowercased())")
      } else {
        name.append(letter)
      }
    }
  }
}
