public import KeyCustody

/// A length of time by the calendar, as ISO 8601 writes it: `P90D`, `P1Y6M`.
///
/// Years, months, weeks and days; a month is as long as it is where it begins.
public struct CalendarPeriod: Sendable, Hashable, Codable, CustomStringConvertible {
  /// The written form, as it was given.
  public let description: String
  private let months: Int
  private let days: Int

  /// Reads the written form.
  ///
  /// - Throws: `invalidInput` (`malformed`) for anything else, a period of nothing, or one over a hundred years.
  public init(_ text: String) throws(KeyCustodyError) {
    guard let (months, days) = Self.parse(text), months * 31 + days > 0, months * 31 + days <= 36_600 else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "That is not a period.", remedy: "Write P90D or P1Y6M: years, months, weeks, days.")
    }
    description = text
    self.months = months
    self.days = days
  }

  private static func parse(_ text: String) -> (months: Int, days: Int)? {
    guard text.utf8.count <= 24, text.hasPrefix("P") else { return nil }
    var (months, days) = (0, 0)
    var digits = ""
    var units = Substring("YMWD")
    for character in text.dropFirst() {
      if "0"..."9" ~= character {
        digits.append(character)
        continue
      }
      guard let number = Int(digits), number <= 36_600, let index = units.firstIndex(of: character) else { return nil }
      switch character {
      case "Y": months += 12 * number
      case "M": months += number
      case "W": days += 7 * number
      default: days += number
      }
      units = units[units.index(after: index)...]
      digits = ""
    }
    return digits.isEmpty ? (months, days) : nil
  }

  /// Reads the written form.
  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }
  /// Writes the written form.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  /// The moment so long after another.
  public func after(_ moment: Timestamp) -> Timestamp { move(moment, 1) }
  /// The moment so long before another.
  public func before(_ moment: Timestamp) -> Timestamp { move(moment, -1) }

  /// Its length where nothing is said of when: a month is 30 days, a year 360.
  var nominalDays: Int { months * 30 + days }

  private func move(_ moment: Timestamp, _ sign: Int) -> Timestamp {
    let day: Int64 = 86_400_000
    // A moment that no calendar holds stays what it is: the end of all time.
    guard abs(moment.milliseconds) < day * 3_000_000 else { return moment }
    let whole = Int((Double(moment.milliseconds) / Double(day)).rounded(.down))
    let rest = moment.milliseconds - Int64(whole) * day
    var date = CivilDate(days: whole)
    let index = date.year * 12 + (date.month - 1) + sign * months
    date.year = Int((Double(index) / 12).rounded(.down))
    date.month = index - date.year * 12 + 1
    date.day = min(date.day, CivilDate.length(date.year, date.month))
    return Timestamp(milliseconds: Int64(date.days + sign * days) * day + rest)
  }
}

/// A date of the Gregorian calendar (algorithms of Howard Hinnant, "chrono-compatible low-level date algorithms").
private struct CivilDate {
  var year: Int
  var month: Int
  var day: Int

  /// The date so many days after 1970-01-01.
  init(days: Int) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// Days since 1970-01-01.
  var days: Int {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  static func length(_ year: Int, _ month: Int) -> Int {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
  }
}
