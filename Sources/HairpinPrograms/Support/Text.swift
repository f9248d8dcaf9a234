import HairpinEngine

/// The few text-formatting helpers programs need; the module has no Foundation.

/// Right-pads with spaces to `width` characters; longer text is unchanged.
func padded(_ text: String, _ width: Int) -> String {
    let count = text.count
    return count >= width ? text : text + String(repeating: " ", count: width - count)
}

/// Left-pads to `width` characters.
func leftPadded(_ text: String, _ width: Int, with filler: Character = " ") -> String {
    let count = text.count
    return count >= width ? text : String(repeating: filler, count: width - count) + text
}

func leftPadded(_ number: Int, _ width: Int, with filler: Character = " ") -> String { leftPadded(String(number), width, with: filler) }

/// `%.*f` for values of everyday size: rounds half away from zero.
func fixed(_ value: Double, _ places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (value.magnitude * scale).rounded()
    guard scaled < 9e18 else { return String(value) }
    let whole = UInt64(scaled)
    return (value < 0 && whole != 0 ? "-" : "") + fixedPoint(whole, places)
}

/// A number of 10^-`places` units as decimal text: `fixedPoint(1234, 3)` is "1.234".
func fixedPoint(_ units: UInt64, _ places: Int) -> String {
    guard places > 0 else { return String(units) }
    let digits = leftPadded(String(units), places + 1, with: "0")
    let split = digits.index(digits.endIndex, offsetBy: -places)
    return digits[..<split] + "." + digits[split...]
}

/// `%g`-like text of a non-negative number below a million: six significant digits, no trailing zeros.
func significant(_ value: Double) -> String {
    guard value != 0 else { return "0" }
    var places = 5
    var bound = 10.0
    while places > 0, value >= bound {
        places -= 1
        bound *= 10
    }
    if value < 1 { places = 6 }
    var text = fixed(value, places)
    if text.contains(".") {
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
    }
    return text
}

func text(_ bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

/// The lines of a text; a final newline ends the last line and does not start another.
func lines(_ text: String) -> [String] {
    var result = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    if result.last == "" { result.removeLast() }
    return result
}

func trimmed(_ text: some StringProtocol) -> String {
    var part = Substring(text)
    while let first = part.first, first.isWhitespace { part.removeFirst() }
    while let last = part.last, last.isWhitespace { part.removeLast() }
    return String(part)
}

/// `printf`-style escapes of echo -e, printf formats and curl -w: `\n \t \r \a \b \f \v \\ \0NNN \xHH`.
func unescaped(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    let scalars = Array(text.unicodeScalars)
    var i = 0
    func number(_ radix: Int, _ limit: Int) -> UInt32? {
        var digits = ""
        while digits.count < limit, i < scalars.count, Character(scalars[i]).hexDigitValue.map({ $0 < radix }) == true {
            digits.unicodeScalars.append(scalars[i])
            i += 1
        }
        return UInt32(digits, radix: radix)
    }
    while i < scalars.count {
        let c = scalars[i]
        i += 1
        guard c == "\\", i < scalars.count else {
            result.append(c)
            continue
        }
        let escape = scalars[i]
        i += 1
        switch escape {
        case "n": result.append("\n")
        case "t": result.append("\t")
        case "r": result.append("\r")
        case "a": result.append("\u{7}")
        case "b": result.append("\u{8}")
        case "f": result.append("\u{c}")
        case "v": result.append("\u{b}")
        case "e": result.append("\u{1b}")
        case "\\": result.append("\\")
        case "\"": result.append("\"")
        case "0"..."7":
            if escape != "0" { i -= 1 }
            if let value = number(8, 3), let scalar = Unicode.Scalar(value & 0xff) { result.append(scalar) } else { result.append("\0") }
        case "x":
            if let value = number(16, 2), let scalar = Unicode.Scalar(value) {
                result.append(scalar)
            } else {
                result.append("\\")
                result.append("x")
            }
        default:
            result.append("\\")
            result.append(escape)
        }
    }
    return String(result)
}

/// A duration as sleep(1) and timeout(1) take it: a decimal number with an optional unit s, m, h or d, or "infinity". Nil for anything else.
func parseDuration(_ text: String) -> Duration? {
    if text == "infinity" || text == "inf" { return Duration(nanoseconds: Int64.max / 4) }
    var digits = Substring(text)
    var unit: Int64 = 1_000_000_000
    switch digits.last {
    case "s": digits.removeLast()
    case "m":
        unit *= 60
        digits.removeLast()
    case "h":
        unit *= 3600
        digits.removeLast()
    case "d":
        unit *= 86400
        digits.removeLast()
    default: break
    }
    let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
    guard !digits.isEmpty, digits != ".", parts.count <= 2, digits.utf8.allSatisfy({ $0 == 46 || (48...57).contains($0) }) else { return nil }
    // Beyond 73 years everything is for ever.
    let longest = Int64.max / 4
    let (whole, overflow) = (Int64(parts[0].isEmpty ? "0" : parts[0]) ?? Int64.max).multipliedReportingOverflow(by: unit)
    guard !overflow, whole < longest else { return Duration(nanoseconds: longest) }
    var nanoseconds = whole
    if parts.count == 2 {
        var scale = unit
        for digit in parts[1].utf8.prefix(9) {
            scale /= 10
            nanoseconds += Int64(digit - 48) * scale
        }
    }
    return Duration(nanoseconds: nanoseconds)
}

/// Hexadecimal of the lowest `digits` digits, lower case.
func hexadecimal(_ value: UInt64, digits: Int) -> String { leftPadded(String(value, radix: 16), digits, with: "0") }
