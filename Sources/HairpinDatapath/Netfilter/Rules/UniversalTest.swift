/// `-m u32`: comparisons of 32-bit words of the packet, counted from its IP header (xt_u32).
struct UniversalTest: Hashable, Sendable {
    enum Operation: UInt8, Sendable { case and, left, right, at }
    struct Step: Hashable, Sendable { var operation: Operation, number: UInt32 }
    struct Comparison: Hashable, Sendable {
        var offset: UInt32
        var steps: [Step]
        var ranges: [ClosedRange<UInt32>]
    }
    var comparisons: [Comparison] = []
    var inverted = false

    /// `0x6&0xff=0x6&&0x0>>22&0x3c@0=0x50:0x60,0x70`.
    init(_ text: String) throws(RuleProblem) {
        var rest = text.utf8.filter { $0 != 0x20 && $0 != 0x09 }[...]
        func problem() -> RuleProblem { RuleProblem(reason: "'\(text)' is not a u32 expression such as 0x6&0xff=0x6") }
        func take(_ word: String) -> Bool {
            guard rest.starts(with: word.utf8) else { return false }
            rest = rest.dropFirst(word.utf8.count)
            return true
        }
        func number() throws(RuleProblem) -> UInt32 {
            let digits = rest.prefix { ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x66) || $0 == 0x78 }
            guard let value = RuleParser.number(String(decoding: digits, as: UTF8.self)) else { throw problem() }
            rest = rest.dropFirst(digits.count)
            return value
        }
        repeat {
            var one = Comparison(offset: try number(), steps: [], ranges: [])
            while !take("=") {
                let operation: Operation
                if take("<<") { operation = .left } else if take(">>") { operation = .right } else if take("&") { operation = .and } else if take("@") {
                    operation = .at
                } else {
                    throw problem()
                }
                one.steps.append(Step(operation: operation, number: try number()))
            }
            repeat {
                let low = try number()
                let high = take(":") ? try number() : low
                guard low <= high else { throw problem() }
                one.ranges.append(low...high)
            } while take(",")
            comparisons.append(one)
            guard comparisons.count <= 10, one.steps.count <= 10, one.ranges.count <= 10 else { throw RuleProblem(reason: "a u32 expression has at most ten of each part") }
        } while take("&&")
        guard rest.isEmpty else { throw problem() }
    }

    /// As iptables-save prints it.
    var text: String {
        func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
        var parts: [String] = []
        for one in comparisons {
            var part = hex(one.offset)
            for step in one.steps {
                let sign =
                    switch step.operation {
                    case .and: "&"
                    case .left: "<<"
                    case .right: ">>"
                    case .at: "@"
                    }
                part += sign + hex(step.number)
            }
            parts.append(part + "=" + one.ranges.map { $0.lowerBound == $0.upperBound ? hex($0.lowerBound) : hex($0.lowerBound) + ":" + hex($0.upperBound) }.joined(separator: ","))
        }
        return parts.joined(separator: "&&")
    }

    /// `u32_match_it`; `word` reads the four bytes at an offset, nil beyond the packet's end.
    func matches(_ word: (UInt64) -> UInt32?) -> Bool {
        for one in comparisons {
            var base: UInt64 = 0
            guard var value = word(UInt64(one.offset)) else { return inverted }
            for step in one.steps {
                switch step.operation {
                case .and: value &= step.number
                case .left: value = step.number > 31 ? 0 : value << step.number
                case .right: value = step.number > 31 ? 0 : value >> step.number
                case .at:
                    base += UInt64(value)
                    guard let next = word(base + UInt64(step.number)) else { return inverted }
                    value = next
                }
            }
            if !one.ranges.contains(where: { $0.contains(value) }) { return inverted }
        }
        return !inverted
    }
}
