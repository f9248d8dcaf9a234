/// grep, wc, sort, uniq, cut, tr and others that read everything, then print.
enum TextFilters {
    /// grep streams, so that `tail -f log | grep x` shows lines as they come.
    final class Grep: Program {
        private let command: LineSelection
        private var files: [String]
        private var partial: [UInt8] = []
        private var matches = 0, anyMatch = false, failed = false
        private var isDone = false
        private let names: Bool
        private var options: Options { command.options }

        init(_ arguments: [String], extended: Bool = false, literal: Bool = false) {
            command = LineSelection(arguments, extended: extended, literal: literal)
            files = command.files
            names = (files.count > 1 || command.options.has("H")) && !command.options.has("h")
        }

        func resume(_ system: any SystemCalls) -> Suspension {
            if let problem = command.problem {
                system.writeError(problem)
                return .exit(2)
            }
            while let file = files.first, !isDone {
                if file == "-" {
                    guard let bytes = system.readInput(65536) else { return .wait(inputWait(system)) }
                    if !bytes.isEmpty {
                        feed(bytes, "(standard input)", system)
                        continue
                    }
                } else if let bytes = system.readFile(absolutePath(file, system)) {
                    feed(bytes, file, system)
                } else {
                    if !options.has("s") { system.writeError(fileError("grep", file, system)) }
                    failed = true
                }
                if !partial.isEmpty { feed([10], file, system) }
                if options.has("c") { system.writeOutput("\(names ? file + ":" : "")\(matches)\n") }
                if options.has("l"), matches > 0 { system.writeOutput("\(file)\n") }
                matches = 0
                number = 0
                files.removeFirst()
            }
            return .exit(failed ? 2 : anyMatch ? 0 : 1)
        }

        private var number = 0
        private func feed(_ bytes: [UInt8], _ file: String, _ system: any SystemCalls) {
            partial += bytes
            while let newline = partial.firstIndex(of: 10), !isDone {
                let line = text(partial[..<newline])
                partial.removeFirst(newline + 1)
                number += 1
                guard command.selects(line) else { continue }
                matches += 1
                anyMatch = true
                if options.has("q") { isDone = true }
                if let limit = options["m"].flatMap({ Int($0) }), matches >= limit { isDone = true }
                if options.has("q") || options.has("c") || options.has("l") { continue }
                let prefix = (names ? file + ":" : "") + (options.has("n") ? "\(number):" : "")
                if options.has("o") {
                    let characters = Array(line)
                    var start = 0
                    while let range = command.patterns.compactMap({ $0.firstMatch(in: line, from: start) }).min(by: { ($0.lowerBound, -$0.count) < ($1.lowerBound, -$1.count) }) {
                        if !range.isEmpty { system.writeOutput(prefix + String(characters[range]) + "\n") }
                        start = max(range.upperBound, range.lowerBound + 1)
                    }
                } else {
                    system.writeOutput(prefix + line + "\n")
                }
            }
        }
    }

    static func wc(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "lwcm")
        return WholeInput("wc", files: options.operands) { system, sources in
            let all = !options.has("l") && !options.has("w") && !options.has("c") && !options.has("m")
            var totals = [0, 0, 0]
            func row(_ counts: [Int], _ name: String) -> String {
                var shown: [Int] = []
                if all || options.has("l") { shown.append(counts[0]) }
                if all || options.has("w") { shown.append(counts[1]) }
                if all || options.has("c") || options.has("m") { shown.append(counts[2]) }
                let width = shown.count == 1 && sources.count == 1 ? 0 : name.isEmpty ? 7 : String(totals.max() ?? 0).count
                return shown.map { leftPadded($0, width) }.joined(separator: " ") + (name.isEmpty ? "" : " \(name)") + "\n"
            }
            let counts = sources.map { source in
                [source.bytes.reduce(0) { $0 + ($1 == 10 ? 1 : 0) }, text(source.bytes).split(whereSeparator: \.isWhitespace).count, source.bytes.count]
            }
            for count in counts { for i in 0..<3 { totals[i] += count[i] } }
            for (source, count) in zip(sources, counts) { system.writeOutput(row(count, source.name == "-" ? "" : source.name)) }
            if sources.count > 1 { system.writeOutput(row(totals, "total")) }
            return 0
        }
    }

    static func sort(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "nrufbhVs", values: "kto")
        let field = options["k"].flatMap { Int($0.prefix { $0.isNumber }) }
        if let separator = options["t"], separator.count > 1 { return usageError("sort: multi-character tab ‘\(separator)’\n", status: 2) }
        if field == 0 { return usageError("sort: -: invalid field specification ‘\(options["k"] ?? "")’\n", status: 2) }
        return WholeInput("sort", files: options.operands) { system, sources in
            var rows = sources.flatMap { lines(text($0.bytes)) }
            let numeric = options.has("n") || options["k"]?.contains("n") == true
            let reverse = options.has("r") || options["k"]?.contains("r") == true
            func key(_ line: String) -> String {
                guard let field else { return line }
                let parts =
                    options["t"]?.first.map { separator in line.split(separator: separator, omittingEmptySubsequences: false) }
                    ?? line.split(whereSeparator: \.isWhitespace)
                return field <= parts.count ? String(parts[field - 1]) : ""
            }
            func number(_ text: String) -> Double { Double(trimmed(text).prefix { $0.isNumber || $0 == "-" || $0 == "." }) ?? 0 }
            rows.sort { a, b in
                let (x, y) = (key(a), key(b))
                if numeric {
                    let (m, n) = (number(x), number(y))
                    if m != n { return reverse ? m > n : m < n }
                } else if x != y {
                    let (u, v) = options.has("f") ? (Array(x.lowercased().utf8), Array(y.lowercased().utf8)) : (Array(x.utf8), Array(y.utf8))
                    if u != v { return u.lexicographicallyPrecedes(v) != reverse }
                }
                return Array(a.utf8).lexicographicallyPrecedes(Array(b.utf8)) != (reverse && a != b)
            }
            var previous: String?
            for row in rows where !options.has("u") || previous.map({ key($0) != key(row) }) ?? true {
                system.writeOutput(row + "\n")
                previous = row
            }
            return 0
        }
    }

    static func uniq(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "cdui")
        return WholeInput("uniq", files: Array(options.operands.prefix(1))) { system, sources in
            var groups: [(line: String, count: Int)] = []
            for line in sources.flatMap({ lines(text($0.bytes)) }) {
                if let last = groups.last, options.has("i") ? last.line.lowercased() == line.lowercased() : last.line == line {
                    groups[groups.count - 1].count += 1
                } else {
                    groups.append((line, 1))
                }
            }
            for group in groups where (!options.has("d") || group.count > 1) && (!options.has("u") || group.count == 1) {
                system.writeOutput((options.has("c") ? leftPadded(group.count, 7) + " " : "") + group.line + "\n")
            }
            return 0
        }
    }

    static func cut(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "s", values: "dfcb")
        return WholeInput("cut", files: options.operands) { system, sources in
            guard let list = options["f"] ?? options["c"] ?? options["b"] else {
                system.writeError("cut: you must specify a list of bytes, characters, or fields\n")
                return 1
            }
            var wanted: [ClosedRange<Int>] = []
            for item in list.split(separator: ",") {
                let bounds = item.split(separator: "-", omittingEmptySubsequences: false)
                let first = bounds[0].isEmpty ? 1 : Int(bounds[0]) ?? 0
                let last = bounds.count == 1 ? first : bounds[1].isEmpty ? Int.max : Int(bounds[1]) ?? 0
                guard first >= 1, last >= first else {
                    system.writeError("cut: invalid field value ‘\(item)’\n")
                    return 1
                }
                wanted.append(first...last)
            }
            let separator = options["d"].flatMap(\.first) ?? "\t"
            for line in sources.flatMap({ lines(text($0.bytes)) }) {
                if options["f"] == nil {
                    system.writeOutput(String(line.enumerated().filter { item in wanted.contains { $0.contains(item.offset + 1) } }.map(\.element)) + "\n")
                } else {
                    let parts = line.split(separator: separator, omittingEmptySubsequences: false)
                    if parts.count == 1 {
                        if !options.has("s") { system.writeOutput(line + "\n") }
                        continue
                    }
                    system.writeOutput(
                        parts.enumerated().filter { item in wanted.contains { $0.contains(item.offset + 1) } }.map { String($0.element) }.joined(
                            separator: String(separator)) + "\n")
                }
            }
            return 0
        }
    }

    static func tr(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "dsc")
        return WholeInput("tr", files: []) { system, sources in
            func expand(_ set: String) -> [Character] {
                let named = set.replacing("[:upper:]", with: "A-Z").replacing("[:lower:]", with: "a-z").replacing("[:digit:]", with: "0-9").replacing(
                    "[:space:]", with: " \\t\\n\\r")
                let characters = Array(unescaped(named))
                var result: [Character] = []
                var i = 0
                while i < characters.count {
                    if i + 2 < characters.count, characters[i + 1] == "-", let a = characters[i].asciiValue, let b = characters[i + 2].asciiValue, a <= b {
                        result += (a...b).map { Character(UnicodeScalar($0)) }
                        i += 3
                    } else {
                        result.append(characters[i])
                        i += 1
                    }
                }
                return result
            }
            let from = expand(options.operands.first ?? "")
            let to = options.operands.count > 1 ? expand(options.operands[1]) : []
            var out = ""
            var last: Character?
            for c in text(sources[0].bytes).unicodeScalars.map(Character.init) {
                let index = from.firstIndex(of: c)
                let isIn = (index != nil) != options.has("c")
                var new = c
                if isIn {
                    if options.has("d") { continue }
                    if let target = to.last { new = index.flatMap { $0 < to.count ? to[$0] : nil } ?? target }
                }
                if options.has("s"), isIn, last == new { continue }
                last = new
                out.append(new)
            }
            system.writeOutput(out)
            return 0
        }
    }
}
