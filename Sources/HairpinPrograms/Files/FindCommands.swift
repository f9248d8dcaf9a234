/// find(1): folders, `-name`, `-type`, `-maxdepth`, `-print`.
enum Find {
    static func program(_ arguments: [String]) -> any Program {
        Immediate { system in
            let starts = arguments.prefix { !$0.hasPrefix("-") }
            var words = arguments.dropFirst(starts.count)
            var name: String?, type: String?
            var depth = 64
            while let word = words.popFirst() {
                if word == "-print" { continue }
                guard ["-name", "-type", "-maxdepth"].contains(word) else {
                    system.writeError("find: unknown predicate `\(word)'\n")
                    return 1
                }
                guard let value = words.popFirst() else {
                    system.writeError("find: missing argument to `\(word)'\n")
                    return 1
                }
                switch word {
                case "-name": name = value
                case "-type": type = value
                default: depth = min(Int(value) ?? depth, depth)
                }
            }
            var status: Int32 = 0
            /// Folders are seen before what is in them; links there are none.
            func visit(_ shown: String, _ path: String, _ level: Int) {
                let names = system.listFolder(path)
                guard names != nil || system.readFile(path) != nil else {
                    system.writeError("find: ‘\(shown)’: No such file or directory\n")
                    status = 1
                    return
                }
                let last = shown.split(separator: "/").last.map(String.init) ?? shown
                let isWanted = type == nil || type == (names == nil ? "f" : "d")
                if isWanted, name.map({ matchesGlob(Array($0)[...], Array(last)[...]) }) ?? true { system.writeOutput(shown + "\n") }
                guard level < depth else { return }
                for inner in names ?? [] { visit(shown.hasSuffix("/") ? shown + inner : shown + "/" + inner, path.hasSuffix("/") ? path + inner : path + "/" + inner, level + 1) }
            }
            for start in starts.isEmpty ? ["."] : Array(starts) { visit(start, absolutePath(start, system), 0) }
            return status
        }
    }

    /// `*` and `?`; the text is walked once for each star, so that no pattern takes long.
    private static func matchesGlob(_ pattern: ArraySlice<Character>, _ text: ArraySlice<Character>) -> Bool {
        var (pattern, text) = (pattern, text)
        var retry: (pattern: ArraySlice<Character>, text: ArraySlice<Character>)?
        while true {
            if pattern.first == "*" {
                pattern = pattern.dropFirst()
                retry = (pattern, text)
            } else if let c = text.first, pattern.first == "?" || pattern.first == c {
                (pattern, text) = (pattern.dropFirst(), text.dropFirst())
            } else if text.isEmpty, pattern.isEmpty {
                return true
            } else if let (rest, from) = retry, !from.isEmpty {
                retry = (rest, from.dropFirst())
                (pattern, text) = (rest, from.dropFirst())
            } else {
                return false
            }
        }
    }
}

/// xargs(1): `-n`, `-I`, `-r`; commands run one after another.
final class ArgumentRunner: Program {
    private let options: Options
    private let userland: Userland
    private var input: [UInt8] = []
    private var batches: ArraySlice<[String]>?
    private var child: ProcessID?
    private var status: Int32 = 0

    init(_ arguments: [String], _ userland: Userland) {
        options = Options(arguments, flags: "rt0", values: "nILP", stopsAtOperand: true)
        self.userland = userland
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if batches == nil {
            if case .waiting(let set) = drainInput(system, into: &input) { return .wait(set) }
            batches = makeBatches()[...]
        }
        while true {
            if let running = child {
                guard let exit = system.exitStatus(of: running) else { return .wait(WaitSet(children: [running])) }
                // 123 where one failed, 255 ends at once (xargs(1)).
                if exit == 255 { return .exit(124) }
                if exit != 0 { status = 123 }
                child = nil
            }
            guard let words = batches?.popFirst() else { return .exit(status) }
            guard let program = CommandTable.program(named: words[0], arguments: Array(words.dropFirst()), userland: userland) else {
                system.writeError("xargs: \(words[0]): No such file or directory\n")
                return .exit(127)
            }
            child = system.spawn(program, arguments: words, environment: system.environmentVariables, streams: system.streams)
        }
    }

    private func makeBatches() -> [[String]] {
        let command = options.operands.isEmpty ? ["echo"] : options.operands
        if let mark = options["I"] {
            let lines = text(input).split(separator: "\n").map { String($0.drop { $0 == " " || $0 == "\t" }) }
            if mark.isEmpty { return lines.map { _ in command } }
            return lines.map { line in command.map { $0.split(separator: mark, omittingEmptySubsequences: false).joined(separator: line) } }
        }
        let separators: Set<Character> = options.has("0") ? ["\0"] : [" ", "\t", "\n"]
        let items = text(input).split(whereSeparator: separators.contains).map { word in
            options.has("0") ? String(word) : String(word.filter { $0 != "\"" && $0 != "'" })
        }
        if items.isEmpty { return options.has("r") ? [] : [command] }
        let size = max(options["n"].flatMap { Int($0) } ?? items.count, 1)
        return stride(from: 0, to: items.count, by: size).map { command + items[$0..<min($0 + size, items.count)] }
    }
}

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
