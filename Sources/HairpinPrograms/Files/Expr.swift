/// expr(1): `|`, `&`, comparisons, `+ - * / %`, `STRING : RE`, `length`, parentheses. Status 1 for an empty result or 0.
enum Expr {
    static func program(_ arguments: [String]) -> any Program {
        Immediate { system in
            var reader = Reader(words: arguments[...])
            guard let value = reader.either(), reader.words.isEmpty else {
                system.writeError("expr: \(reader.problem ?? (arguments.isEmpty ? "missing operand" : "syntax error"))\n")
                return 2
            }
            system.writeOutput(value + "\n")
            return value.isEmpty || Int(value) == 0 ? 1 : 0
        }
    }

    private struct Reader {
        var words: ArraySlice<String>
        var problem: String?
        private var depth = 0
        init(words: ArraySlice<String>) { self.words = words }

        private mutating func takes(_ operators: [String]) -> String? {
            guard let word = words.first, operators.contains(word) else { return nil }
            return words.popFirst()
        }
        private static func isNothing(_ value: String) -> Bool { value.isEmpty || Int(value) == 0 }

        mutating func either() -> String? {
            guard var left = both() else { return nil }
            while takes(["|"]) != nil {
                guard let right = both() else { return nil }
                if Self.isNothing(left) { left = Self.isNothing(right) ? "0" : right }
            }
            return left
        }
        private mutating func both() -> String? {
            guard var left = comparison() else { return nil }
            while takes(["&"]) != nil {
                guard let right = comparison() else { return nil }
                if Self.isNothing(left) || Self.isNothing(right) { left = "0" }
            }
            return left
        }
        private mutating func comparison() -> String? {
            guard var left = sum() else { return nil }
            while let sign = takes(["<", "<=", "=", "==", "!=", ">=", ">"]) {
                guard let right = sum() else { return nil }
                let order: Int
                if let a = Int(left), let b = Int(right) { order = a < b ? -1 : a > b ? 1 : 0 } else { order = left < right ? -1 : left > right ? 1 : 0 }
                let holds =
                    switch sign {
                    case "<": order < 0
                    case "<=": order <= 0
                    case "!=": order != 0
                    case ">=": order >= 0
                    case ">": order > 0
                    default: order == 0
                    }
                left = holds ? "1" : "0"
            }
            return left
        }
        private mutating func sum() -> String? {
            guard var left = product() else { return nil }
            while let sign = takes(["+", "-"]) {
                guard let right = product(), let result = calculate(left, sign, right) else { return nil }
                left = result
            }
            return left
        }
        private mutating func product() -> String? {
            guard var left = match() else { return nil }
            while let sign = takes(["*", "/", "%"]) {
                guard let right = match(), let result = calculate(left, sign, right) else { return nil }
                left = result
            }
            return left
        }
        private mutating func calculate(_ left: String, _ sign: String, _ right: String) -> String? {
            guard let a = Int(left), let b = Int(right) else {
                problem = "non-integer argument"
                return nil
            }
            if sign == "/" || sign == "%", b == 0 {
                problem = "division by zero"
                return nil
            }
            let (value, isTooLarge) =
                switch sign {
                case "+": a.addingReportingOverflow(b)
                case "-": a.subtractingReportingOverflow(b)
                case "*": a.multipliedReportingOverflow(by: b)
                case "/": a.dividedReportingOverflow(by: b)
                default: a.remainderReportingOverflow(dividingBy: b)
                }
            if isTooLarge {
                problem = "integer result too large"
                return nil
            }
            return String(value)
        }
        /// The group of a match at the beginning, or its length.
        private mutating func match() -> String? {
            guard var left = value() else { return nil }
            while takes([":"]) != nil {
                guard let source = value(), let pattern = BasicPattern("^" + source, extended: false, ignoresCase: false) else { return nil }
                let found = pattern.match(in: left)
                if pattern.groupCount > 0 {
                    left = found?.groups.first.flatMap { $0 }.map { String(Array(left)[$0]) } ?? ""
                } else {
                    left = String(found?.range.count ?? 0)
                }
            }
            return left
        }
        private mutating func value() -> String? {
            depth += 1
            defer { depth -= 1 }
            guard depth < 100, let word = words.popFirst() else { return nil }
            if word == "length" { return value().map { String($0.count) } }
            guard word == "(" else { return word }
            guard let inner = either(), takes([")"]) != nil else { return nil }
            return inner
        }
    }
}
