import HairpinEngine

/// The command substitutions of one command, run one after the other before its words are expanded.
final class Substitutions {
    private var nodes: [ShellNode]
    private var results: [String] = []
    private var running: (pipe: PipeID, child: ProcessID, collected: [UInt8], isClosed: Bool)?
    private var next = 0

    init(_ words: [Word]) { nodes = words.flatMap { Substitutions.nodes(in: $0.parts) } }

    /// In the order in which expansion meets them.
    static func nodes(in parts: [WordPart]) -> [ShellNode] {
        parts.flatMap { part -> [ShellNode] in
            switch part {
            case .literal: []
            case .command(let node, _): [node]
            case .arithmetic(let inner, _): nodes(in: inner)
            case .variable(_, let operation, _): operation.map { nodes(in: $0.word) } ?? []
            }
        }
    }

    /// What to wait for, or nil when all are done.
    func advance(_ shell: Shell, _ system: any SystemCalls) -> WaitSet? {
        while true {
            if running == nil {
                guard results.count < nodes.count else { return nil }
                let pipe = system.makePipe()
                var streams = shell.current.standard(system)
                streams.output = .pipe(pipe)
                running = (pipe, shell.spawnSubshell(nodes[results.count], streams: streams, system), [], false)
            }
            while running?.isClosed == false {
                guard let bytes = system.readPipe(running!.pipe, 65536) else {
                    var set = WaitSet()
                    set.pipes = [running!.pipe]
                    return set
                }
                if bytes.isEmpty { running!.isClosed = true } else { running!.collected += bytes }
            }
            guard let status = system.exitStatus(of: running!.child) else { return WaitSet(children: [running!.child]) }
            system.closePipe(running!.pipe)
            var collected = running!.collected[...]
            while collected.last == UInt8(ascii: "\n") { collected.removeLast() }
            results.append(text(collected))
            shell.substitutionStatus = status
            running = nil
        }
    }

    func take() -> String {
        defer { next += 1 }
        return next < results.count ? results[next] : ""
    }
    func skip(_ parts: [WordPart]) { next += Substitutions.nodes(in: parts).count }
    var isEmpty: Bool { nodes.isEmpty }
}

struct ExpansionError: Error {
    /// What one word or variable may grow to: `x=$x$x` in a loop must not take the host's memory.
    static let longestText = 64 << 20
    var message: String

    static func check(_ text: String) throws(ExpansionError) {
        guard text.utf8.count <= longestText else { throw ExpansionError(message: "Out of space") }
    }
}

/// Word expansion (POSIX.1 XCU §2.6): braces, parameters, commands, arithmetic, field splitting, quote removal.
struct Expander {
    let shell: Shell
    let system: any SystemCalls
    let substitutions: Substitutions

    private struct Fields {
        var list: [String] = []
        var open: String?
        mutating func add(_ text: String) { open = (open ?? "") + text }
        mutating func close() {
            if let open { list.append(open) }
            open = nil
        }
    }

    /// A word as any number of fields.
    func fields(_ word: Word) throws(ExpansionError) -> [String] {
        var result: [String] = []
        for alternative in Braces.expand(word.parts) {
            var fields = Fields()
            try add(alternative, to: &fields, splits: true)
            fields.close()
            for text in fields.list { try ExpansionError.check(text) }
            result += fields.list
        }
        return result
    }

    /// A word as one string: assignments, redirection targets, `case`.
    func single(_ parts: [WordPart]) throws(ExpansionError) -> String {
        var fields = Fields()
        try add(parts, to: &fields, splits: false)
        fields.close()
        let text = fields.list.joined(separator: " ")
        try ExpansionError.check(text)
        return text
    }

    private func add(_ parts: [WordPart], to fields: inout Fields, splits: Bool) throws(ExpansionError) {
        for (index, part) in parts.enumerated() {
            switch part {
            case .literal(let text, let quoted):
                if !quoted, index == 0, text == "~" || text.hasPrefix("~/") {
                    fields.add((shell.variables["HOME"] ?? "/root") + text.dropFirst())
                } else {
                    fields.add(text)
                }
            case .command(_, let quoted): addValue(substitutions.take(), quoted, &fields, splits)
            case .arithmetic(let inner, let quoted):
                let expression = try single(inner)
                let value: Int64
                do throws(ShellArithmetic.Failure) {
                    value = try ShellArithmetic.evaluate(
                        expression, value: { self.shell.variables[$0] }, assign: { self.shell.variables[$0] = $1 })
                } catch {
                    throw ExpansionError(message: error.message)
                }
                addValue(String(value), quoted, &fields, splits)
            case .variable(let name, let operation, let quoted):
                if name == "@" || name == "*", operation == nil {
                    addPositional(name, quoted, &fields, splits)
                } else if let operation {
                    try addParameter(name, operation, quoted, &fields, splits)
                } else if let value = shell.value(of: name, system) {
                    addValue(value, quoted, &fields, splits)
                } else if shell.failsOnUnset {
                    throw ExpansionError(message: "\(name): parameter not set")
                } else if quoted {
                    fields.add("")
                }
            }
        }
    }

    private func addPositional(_ name: String, _ quoted: Bool, _ fields: inout Fields, _ splits: Bool) {
        if quoted, name == "*" || !splits {
            fields.add(shell.positional.joined(separator: " "))
            return
        }
        for (index, value) in shell.positional.enumerated() {
            if index > 0 { fields.close() }
            addValue(value, quoted, &fields, splits)
        }
    }

    private func addValue(_ value: String, _ quoted: Bool, _ fields: inout Fields, _ splits: Bool) {
        if quoted || !splits {
            fields.add(value)
            return
        }
        let separators = Array((shell.variables["IFS"] ?? " \t\n").unicodeScalars)
        var piece = String.UnicodeScalarView()
        for scalar in value.unicodeScalars {
            if separators.contains(scalar) {
                if !piece.isEmpty { fields.add(String(piece)) }
                piece = String.UnicodeScalarView()
                fields.close()
            } else {
                piece.append(scalar)
            }
        }
        if !piece.isEmpty { fields.add(String(piece)) }
    }

    private func addParameter(_ name: String, _ operation: ParameterOperation, _ quoted: Bool, _ fields: inout Fields, _ splits: Bool) throws(ExpansionError) {
        let value = shell.value(of: name, system)
        let isSet = value != nil && !(operation.treatsEmptyAsUnset && value == "")
        switch operation.kind {
        case .length:
            addValue(String((value ?? "").count), quoted, &fields, splits)
        case .useDefault where !isSet: try add(operation.word, to: &fields, splits: splits && !quoted)
        case .alternative where isSet: try add(operation.word, to: &fields, splits: splits && !quoted)
        case .alternative: substitutions.skip(operation.word)
        case .assignDefault where !isSet:
            let new = try single(operation.word)
            shell.variables[name] = new
            addValue(new, quoted, &fields, splits)
        case .errorIfUnset where !isSet:
            let message = try single(operation.word)
            throw ExpansionError(message: "\(name): \(message.isEmpty ? "parameter not set" : message)")
        case .removeSmallestSuffix, .removeLargestSuffix, .removeSmallestPrefix, .removeLargestPrefix:
            let pattern = try single(operation.word)
            addValue(Pattern.removing(pattern, from: value ?? "", operation.kind), quoted, &fields, splits)
        default:
            substitutions.skip(operation.word)
            addValue(value ?? "", quoted, &fields, splits)
        }
    }
}

extension Shell {
    /// A parameter's value; nil when unset.
    func value(of name: String, _ system: any SystemCalls) -> String? {
        switch name {
        case "?": return String(lastStatus)
        case "#": return String(positional.count)
        case "$": return String(system.processID.rawValue)
        case "!": return lastBackground.map { String($0.rawValue) }
        case "-": return (exitsOnError ? "e" : "") + (failsOnUnset ? "u" : "") + (isTracing ? "x" : "")
        case "@", "*": return positional.isEmpty ? nil : positional.joined(separator: " ")
        case "0": return self.name
        case "RANDOM" where dialect != .dash: return String(system.random() & 0x7fff)
        case "SECONDS" where dialect == .bash: return String(system.now.nanoseconds / 1_000_000_000)
        default:
            if let index = Int(name) { return index >= 1 && index <= positional.count ? positional[index - 1] : nil }
            return variables[name]
        }
    }
}

/// `{a,b}` and `{1..5}` in unquoted literals.
enum Braces {
    static func expand(_ parts: [WordPart]) -> [[WordPart]] {
        for (index, part) in parts.enumerated() {
            guard case .literal(let text, quoted: false) = part, let (before, alternatives, after) = split(text) else { continue }
            var result: [[WordPart]] = []
            for alternative in alternatives {
                var copy = parts
                copy[index] = .literal(before + alternative + after, quoted: false)
                result += expand(copy)
                if result.count > 100_000 { break }
            }
            return result
        }
        return [parts]
    }

    private static func split(_ text: String) -> (String, [String], String)? {
        let characters = Array(text)
        for open in characters.indices where characters[open] == "{" {
            var depth = 0
            for close in open..<characters.count {
                if characters[close] == "{" { depth += 1 }
                if characters[close] == "}" { depth -= 1 }
                guard depth == 0 else { continue }
                let inner = String(characters[(open + 1)..<close])
                if let alternatives = range(inner) ?? list(inner) {
                    return (String(characters[..<open]), alternatives, String(characters[(close + 1)...]))
                }
                break
            }
        }
        return nil
    }

    private static func range(_ inner: String) -> [String]? {
        let pieces = inner.split(separator: ".", omittingEmptySubsequences: false)
        guard pieces.count == 3 || pieces.count == 5, pieces[1].isEmpty, pieces.count == 3 || pieces[3].isEmpty else { return nil }
        let step = pieces.count == 5 ? Int(pieces[4]) : 1
        if let first = Int(pieces[0]), let last = Int(pieces[2]), let step, step != 0, (last - first).magnitude < 100_000 {
            let width = pieces[0].hasPrefix("0") && pieces[0].count > 1 ? pieces[0].count : 0
            return stride(from: first, through: last, by: first <= last ? Int(step.magnitude) : -Int(step.magnitude)).map { leftPadded($0, width, with: "0") }
        }
        guard pieces.count == 3, pieces[0].count == 1, pieces[2].count == 1, let first = pieces[0].first?.asciiValue, let last = pieces[2].first?.asciiValue,
            Character(UnicodeScalar(first)).isLetter, Character(UnicodeScalar(last)).isLetter
        else { return nil }
        return stride(from: Int(first), through: Int(last), by: first <= last ? 1 : -1).map { String(UnicodeScalar(UInt8($0))) }
    }

    private static func list(_ inner: String) -> [String]? {
        var result: [String] = []
        var piece = ""
        var depth = 0
        for c in inner {
            if c == "{" { depth += 1 }
            if c == "}" { depth -= 1 }
            if c == ",", depth == 0 {
                result.append(piece)
                piece = ""
            } else {
                piece.append(c)
            }
        }
        guard !result.isEmpty else { return nil }
        return result + [piece]
    }
}

/// Shell patterns: `*`, `?` and `[…]` (POSIX.1 XCU §2.14).
enum Pattern {
    static func matches(_ pattern: String, _ text: String) -> Bool { matches(Array(pattern)[...], Array(text)[...]) }

    private static func matches(_ pattern: ArraySlice<Character>, _ text: ArraySlice<Character>) -> Bool {
        // Iterative with one point of return: the last `*` may always take one character more.
        var p = pattern.startIndex
        var t = text.startIndex
        var star: (pattern: Int, text: Int)?
        while t < text.endIndex {
            if p < pattern.endIndex, pattern[p] == "*" {
                star = (p, t)
                p += 1
                continue
            }
            if p < pattern.endIndex, let next = one(pattern, p, text[t]) {
                p = next
                t += 1
                continue
            }
            guard let back = star else { return false }
            p = back.pattern + 1
            t = back.text + 1
            star = (back.pattern, t)
        }
        while p < pattern.endIndex, pattern[p] == "*" { p += 1 }
        return p == pattern.endIndex
    }

    /// The position behind one element of the pattern if it matches the character.
    private static func one(_ pattern: ArraySlice<Character>, _ p: Int, _ c: Character) -> Int? {
        if pattern[p] == "?" { return p + 1 }
        if pattern[p] == "[", let close = pattern[(p + 1)...].dropFirst().firstIndex(of: "]") {
            var i = p + 1
            let negated = pattern[i] == "!" || pattern[i] == "^"
            if negated { i += 1 }
            var found = false
            while i < close {
                if i + 2 < close, pattern[i + 1] == "-" {
                    if pattern[i] <= c, c <= pattern[i + 2] { found = true }
                    i += 3
                } else {
                    if pattern[i] == c { found = true }
                    i += 1
                }
            }
            return found != negated ? close + 1 : nil
        }
        if pattern[p] == "\\", p + 1 < pattern.endIndex { return pattern[p + 1] == c ? p + 2 : nil }
        return pattern[p] == c ? p + 1 : nil
    }

    static func removing(_ pattern: String, from text: String, _ kind: ParameterOperation.Kind) -> String {
        let characters = Array(text)
        let p = Array(pattern)[...]
        switch kind {
        case .removeSmallestSuffix, .removeLargestSuffix:
            let starts = kind == .removeLargestSuffix ? Array(0...characters.count) : Array((0...characters.count).reversed())
            for start in starts where matches(p, characters[start...]) { return String(characters[..<start]) }
        default:
            let ends = kind == .removeSmallestPrefix ? Array(0...characters.count) : Array((0...characters.count).reversed())
            for end in ends where matches(p, characters[..<end]) { return String(characters[end...]) }
        }
        return text
    }
}
