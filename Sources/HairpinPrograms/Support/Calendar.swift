import HairpinEngine

/// Wall-clock time inside the simulation. Virtual time zero is Monday, 1 January 2024, 00:00:00 UTC.
/// When virtual time zero is on a calendar: captures and programs agree on it.
public enum VirtualEpoch {
    /// 2024-01-01 00:00:00 UTC, in seconds since 1970.
    public static let unixSeconds: UInt64 = 1_704_067_200
}

struct CivilTime {
    /// Seconds from 1970-01-01 to the start of virtual time.
    static let epoch = VirtualEpoch.unixSeconds

    var year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int
    var weekday: Int  // 0 is Sunday
    var nanosecond: Int

    static func unixSeconds(_ now: Instant) -> UInt64 { epoch + now.nanoseconds / 1_000_000_000 }

    init(_ now: Instant) {
        self.init(unixSeconds: CivilTime.unixSeconds(now))
        nanosecond = Int(now.nanoseconds % 1_000_000_000)
    }

    /// Days to a date in the proleptic Gregorian calendar, counting eras of 400 years that begin on 1 March.
    init(unixSeconds: UInt64) {
        let days = Int(unixSeconds / 86400)
        let time = Int(unixSeconds % 86400)
        let z = days + 719_468
        let era = z / 146_097
        let dayOfEra = z % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = time / 3600
        minute = time / 60 % 60
        second = time % 60
        weekday = (days + 4) % 7
        nanosecond = 0
    }

    static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    static let fullWeekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    static let fullMonths = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
    ]

    private func two(_ n: Int) -> String { leftPadded(n, 2, with: "0") }
    var clock: String { "\(two(hour)):\(two(minute)):\(two(second))" }
    /// "Mon, 01 Jan 2024 00:00:00 GMT" (RFC 9110 §5.6.7).
    var http: String { "\(CivilTime.weekdays[weekday]), \(two(day)) \(CivilTime.months[month - 1]) \(year) \(clock) GMT" }
    /// "01/Jan/2024:00:00:00 +0000", as in access logs.
    var commonLog: String { "\(two(day))/\(CivilTime.months[month - 1])/\(year):\(clock) +0000" }
    /// "2024/01/01 00:00:00", as in nginx's error log.
    var errorLog: String { "\(year)/\(two(month))/\(two(day)) \(clock)" }
    /// "2024-01-01 00:00:00".
    var iso: String { "\(year)-\(two(month))-\(two(day)) \(clock)" }
    /// "Mon Jan  1 00:00:00 UTC 2024", as date(1) prints in the C locale.
    var unix: String { "\(CivilTime.weekdays[weekday]) \(CivilTime.months[month - 1]) \(leftPadded(day, 2)) \(clock) UTC \(year)" }

    /// The conversions of strftime(3) that people use with date(1); others are kept as they stand.
    func formatted(_ format: String) -> String {
        var result = ""
        var pending = format.makeIterator()
        while let c = pending.next() {
            guard c == "%" else {
                result.append(c)
                continue
            }
            guard let conversion = pending.next() else {
                result.append("%")
                break
            }
            switch conversion {
            case "Y": result += String(year)
            case "y": result += two(year % 100)
            case "m": result += two(month)
            case "d": result += two(day)
            case "e": result += leftPadded(day, 2)
            case "H": result += two(hour)
            case "I": result += two((hour + 11) % 12 + 1)
            case "p": result += hour < 12 ? "AM" : "PM"
            case "M": result += two(minute)
            case "S": result += two(second)
            case "N": result += leftPadded(nanosecond, 9, with: "0")
            case "3": if pending.next() == "N" { result += leftPadded(nanosecond / 1_000_000, 3, with: "0") }
            case "6": if pending.next() == "N" { result += leftPadded(nanosecond / 1000, 6, with: "0") }
            case "T": result += clock
            case "R": result += "\(two(hour)):\(two(minute))"
            case "F": result += "\(year)-\(two(month))-\(two(day))"
            case "D": result += "\(two(month))/\(two(day))/\(two(year % 100))"
            case "a": result += CivilTime.weekdays[weekday]
            case "A": result += CivilTime.fullWeekdays[weekday]
            case "b", "h": result += CivilTime.months[month - 1]
            case "B": result += CivilTime.fullMonths[month - 1]
            case "u": result += String(weekday == 0 ? 7 : weekday)
            case "w": result += String(weekday)
            case "Z": result += "UTC"
            case "z": result += "+0000"
            case "s": result += String(unixSeconds)
            case "c": result += "\(CivilTime.weekdays[weekday]) \(CivilTime.months[month - 1]) \(leftPadded(day, 2)) \(clock) \(year)"
            case "n": result += "\n"
            case "t": result += "\t"
            case "%": result += "%"
            default: result += "%\(conversion)"
            }
        }
        return result
    }

    var unixSeconds: UInt64 {
        // Inverse of the initialiser, by the same eras.
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y % 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return UInt64(days * 86400 + hour * 3600 + minute * 60 + second)
    }
}
