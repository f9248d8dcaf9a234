/// An amount of a resource, as apimachinery's pkg/api/resource reads and writes it: "500m", "1.5Gi", "2e3".
struct ResourceQuantity: Comparable {
    /// Billionths, rounded up as the API server keeps them.
    let nanos: Int128
    private let format: Format
    private enum Format { case decimal, binary, exponent }

    /// Why a text is none, in the API server's words.
    struct Malformed: Error {
        let problem: String
        static let pattern = Malformed(problem: "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
        static let suffix = Malformed(problem: "unable to parse quantity's suffix")
    }

    private static let decimal: [(suffix: String, exponent: Int)] = [
        ("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18),
    ]
    private static let binary: [(suffix: String, power: Int)] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)]
    private static let billion: Int128 = 1_000_000_000
    /// What is more counts as this much (`maxAllowed`).
    private static let most = Int128(Int64.max) * billion

    /// `ParseQuantity`.
    init(_ text: String) throws(Malformed) {
        var rest = Substring(text)
        guard !rest.isEmpty else { throw .pattern }
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        func digits() -> Substring {
            let found = rest.prefix { $0.isASCII && $0.isNumber }
            rest.removeFirst(found.count)
            return found
        }
        let whole = digits()
        var fraction = Substring()
        if rest.first == "." {
            rest.removeFirst()
            fraction = digits()
        }
        let suffix = rest
        let letters = rest.prefix { "eEinumkKMGTP".contains($0) }
        rest.removeFirst(letters.count)
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        _ = digits()
        guard rest.isEmpty, !whole.isEmpty || !fraction.isEmpty else { throw .pattern }

        var (exponent, power) = (0, 0)
        if let known = ResourceQuantity.decimal.first(where: { $0.suffix == suffix }) {
            (exponent, format) = (known.exponent, .decimal)
        } else if let known = ResourceQuantity.binary.first(where: { $0.suffix == suffix }) {
            (power, format) = (known.power, .binary)
        } else if suffix.first == "e" || suffix.first == "E", let number = Int(suffix.dropFirst()), abs(number) < 100 {
            (exponent, format) = (number, .exponent)
        } else {
            throw .suffix
        }
        // Number times ten to the `scale`, in billionths.
        let scale = exponent - fraction.count + 9
        var value: Int128 = 0
        for digit in (whole + fraction).drop(while: { $0 == "0" }) {
            value = min(value * 10 + Int128(digit.wholeNumberValue ?? 0), ResourceQuantity.most)
        }
        value = min(value, ResourceQuantity.most >> Int128(power)) << Int128(power)
        for _ in 0..<max(scale, 0) { value = min(value * 10, ResourceQuantity.most) }
        if scale < 0 {
            var divisor: Int128 = 1
            for _ in 0..<min(-scale, 30) { divisor *= 10 }
            value = (value + divisor - 1) / divisor
        }
        value = min(value, ResourceQuantity.most)
        nanos = isNegative ? -value : value
    }

    static func < (a: ResourceQuantity, b: ResourceQuantity) -> Bool { a.nanos < b.nanos }
    static func == (a: ResourceQuantity, b: ResourceQuantity) -> Bool { a.nanos == b.nanos }

    var isWhole: Bool { nanos % ResourceQuantity.billion == 0 }
    /// `MilliValue() % 1000`: thousandths are rounded up first.
    var isInteger: Bool { (nanos + (nanos > 0 ? 999_999 : 0)) / 1_000_000 % 1000 == 0 }

    /// In its canonical form (`CanonicalizeBytes`): the largest suffix that leaves a whole number.
    var text: String {
        if nanos == 0 { return "0" }
        let size = nanos.magnitude
        let sign = nanos < 0 ? "-" : ""
        if format == .binary, isWhole {
            let value = size / 1_000_000_000
            if value >= 1024 {
                let fitting = ResourceQuantity.binary.last { value % (UInt128(1) << UInt128($0.power)) == 0 }
                return "\(sign)\(value >> UInt128(fitting?.power ?? 0))\(fitting?.suffix ?? "")"
            }
        }
        var (value, exponent) = (size, -9)
        while value % 1000 == 0, exponent < 18 { (value, exponent) = (value / 1000, exponent + 3) }
        if format == .exponent { return exponent == 0 ? "\(sign)\(value)" : "\(sign)\(value)e\(exponent)" }
        return "\(sign)\(value)\(ResourceQuantity.decimal.first { $0.exponent == exponent }?.suffix ?? "")"
    }
}
