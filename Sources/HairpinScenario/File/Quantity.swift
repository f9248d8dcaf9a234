import HairpinEngine

/// Durations, rates and ratios as people write them, with their unit. A bare number is refused: "5" of what?
///
/// All arithmetic is on integers, so that `1.5ms` is exactly 1 500 000 ns on every machine.
public enum Quantity {
    /// `1s`, `50us`, `1.5ms`, `2m30s`, `0s`; at most 292 years. Nil for anything else, and for a precision finer than a nanosecond.
    public static func duration(_ text: String) -> Duration? {
        var rest = Substring(text)
        guard !rest.isEmpty else { return nil }
        var total: Int64 = 0
        repeat {
            guard let number = takeNumber(&rest) else { return nil }
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let scale = durationUnits.first(where: { $0.name == unit })?.nanoseconds, let part = scaled(number, by: scale) else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            guard !overflow else { return nil }
            total = sum
        } while !rest.isEmpty
        return Duration(nanoseconds: total)
    }

    /// Bits per second in tc(8)'s spelling: `10Gbit`, `2.5gbit`, `100Mbit`, `64kbit`, `800bit`. Nil for anything else and for zero.
    public static func rate(_ text: String) -> UInt64? {
        var rest = Substring(text)
        guard let number = takeNumber(&rest) else { return nil }
        let unit = rest.lowercased()
        guard let scale = rateUnits.first(where: { $0.name == unit })?.bits, let bits = scaled(number, by: scale), bits > 0 else { return nil }
        return UInt64(bits)
    }

    /// A share between nothing and everything: `1%`, `0.05%`, `0.01`. Nil outside 0…1 or below a billionth.
    public static func ratio(_ text: String) -> Ratio? {
        var rest = Substring(text)
        guard let number = takeNumber(&rest) else { return nil }
        let scale: Int64
        switch rest {
        case "%": scale = 10_000_000
        case "": scale = 1_000_000_000
        default: return nil
        }
        guard let billionths = scaled(number, by: scale), billionths <= 1_000_000_000 else { return nil }
        return Ratio(billionths: UInt32(billionths))
    }

    /// `duration` as a person would write it: the largest unit that keeps at most three decimals.
    public static func words(_ duration: Duration) -> String {
        let nanoseconds = duration.nanoseconds.magnitude
        let sign = duration.nanoseconds < 0 ? "-" : ""
        if nanoseconds == 0 { return "0s" }
        for (name, scale) in [("s", UInt64(1_000_000_000)), ("ms", 1_000_000), ("us", 1_000)] where nanoseconds >= scale {
            let thousandths = (nanoseconds + scale / 2_000) / (scale / 1_000)
            let fraction = String(1_000 + thousandths % 1_000).dropFirst()
            let trimmed = fraction.reversed().drop { $0 == "0" }.reversed()
            return "\(sign)\(thousandths / 1_000)\(trimmed.isEmpty ? "" : "." + String(trimmed))\(name)"
        }
        return "\(sign)\(nanoseconds)ns"
    }

    private static let durationUnits: [(name: Substring, nanoseconds: Int64)] = [
        ("ns", 1), ("us", 1_000), ("µs", 1_000), ("μs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]
    private static let rateUnits: [(name: String, bits: Int64)] = [
        ("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000), ("tbit", 1_000_000_000_000),
    ]

    /// A decimal number: its digits without the point, and how many of them stood behind it.
    private static func takeNumber(_ text: inout Substring) -> (digits: Int64, decimals: Int)? {
        let whole = text.prefix { $0.isASCII && $0.isNumber }
        text = text.dropFirst(whole.count)
        var fraction: Substring = ""
        if text.first == "." {
            text = text.dropFirst()
            fraction = text.prefix { $0.isASCII && $0.isNumber }
            text = text.dropFirst(fraction.count)
            guard !fraction.isEmpty else { return nil }
        }
        guard !whole.isEmpty, let digits = Int64(whole + fraction) else { return nil }
        return (digits, fraction.count)
    }

    /// `number` times `scale`; nil when it overflows or leaves a remainder.
    private static func scaled(_ number: (digits: Int64, decimals: Int), by scale: Int64) -> Int64? {
        let (product, overflow) = number.digits.multipliedReportingOverflow(by: scale)
        guard !overflow else { return nil }
        var divisor: Int64 = 1
        for _ in 0..<number.decimals {
            let (next, overflow) = divisor.multipliedReportingOverflow(by: 10)
            guard !overflow else { return number.digits == 0 ? 0 : nil }
            divisor = next
        }
        return product.isMultiple(of: divisor) ? product / divisor : nil
    }
}

/// A share in billionths, so that a seeded decision needs no floating point.
public struct Ratio: Hashable, Sendable {
    public var billionths: UInt32
    public init(billionths: UInt32) { self.billionths = billionths }
    /// For people's eyes only.
    public var percent: Double { Double(billionths) / 1e7 }
}
