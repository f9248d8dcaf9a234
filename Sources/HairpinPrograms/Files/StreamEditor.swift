/// sed(1) in the subset people type: `s`, `d`, `p`, `q`, `=` with line numbers, `$`, `/re/`, ranges and `!`; `-n`, `-e`, `-E`, `-i`.
enum StreamEditor {
    private enum Address {
        case line(Int)
        case last
        case pattern(BasicPattern)
    }
    private enum Action {
        case substitute(BasicPattern, replacement: [Part], number: Int, isGlobal: Bool, prints: Bool)
        case delete, print, quit, number
    }
    /// Of a replacement: text, or a group; zero is the whole match.
    private enum Part {
        case text(String)
        case group(Int)
    }
    private struct Command {
        var from: Address?, to: Address?
        var isNegated = false
        var action: Action
        /// Within its range.
        var isOpen = false
    }

    static func program(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "nErsiz", values: "e", long: [("quiet", "n"), ("silent", "n"), ("regexp-extended", "E"), ("expression=", "e"), ("in-place", "i")])
        var files = options.operands
        var scripts = options.all("e")
        if scripts.isEmpty {
            guard !files.isEmpty else { return usageError("Usage: sed [OPTION]... {script-only-if-no-other-script} [input-file]...\n", status: 1) }
            scripts = [files.removeFirst()]
        }
        var reader = Reader(text: Array(scripts.joined(separator: "\n")), isExtended: options.has("E") || options.has("r"))
        guard let commands = reader.commands() else { return usageError("sed: -e expression #1, char \(reader.position): \(reader.problem)\n", status: 1) }
        let isQuiet = options.has("n")
        return WholeInput("sed", files: files) { system, sources in
            if options.has("i") {
                for source in sources {
                    _ = system.writeFile(absolutePath(source.name, system), Array(edit(lines(of: source.bytes), commands, isQuiet).utf8), append: false)
                }
            } else {
                system.writeOutput(edit(sources.flatMap { lines(of: $0.bytes) }, commands, isQuiet))
            }
            return 0
        }
    }

    private static func lines(of bytes: [UInt8]) -> [String] {
        var lines = text(bytes).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    private static func edit(_ lines: [String], _ given: [Command], _ isQuiet: Bool) -> String {
        var commands = given
        var out = ""
        for (index, original) in lines.enumerated() {
            var line = original
            var isDeleted = false, quits = false
            for place in commands.indices where selects(&commands[place], line, index + 1, isLast: index == lines.count - 1) {
                switch commands[place].action {
                case .delete: isDeleted = true
                case .print: out += line + "\n"
                case .quit: quits = true
                case .number: out += "\(index + 1)\n"
                case .substitute(let pattern, let parts, let number, let isGlobal, let prints):
                    guard let changed = substituted(line, pattern, parts, number, isGlobal) else { continue }
                    line = changed
                    if prints { out += line + "\n" }
                }
                if isDeleted || quits { break }
            }
            if !isDeleted, !isQuiet { out += line + "\n" }
            if quits { break }
        }
        return out
    }

    private static func selects(_ command: inout Command, _ line: String, _ number: Int, isLast: Bool) -> Bool {
        func holds(_ address: Address) -> Bool {
            switch address {
            case .line(let wanted): number == wanted
            case .last: isLast
            case .pattern(let pattern): pattern.firstMatch(in: line) != nil
            }
        }
        guard let from = command.from else { return !command.isNegated }
        guard let to = command.to else { return holds(from) != command.isNegated }
        var isInside = command.isOpen
        if command.isOpen {
            if case .line(let last) = to { command.isOpen = number < last } else { command.isOpen = !holds(to) }
            // A range whose end has passed by holds no line behind it.
            if case .line(let last) = to, number > last { isInside = false }
        } else if holds(from) {
            isInside = true
            if case .line(let last) = to { command.isOpen = number < last } else { command.isOpen = true }
        }
        return isInside != command.isNegated
    }

    private static func substituted(_ line: String, _ pattern: BasicPattern, _ parts: [Part], _ number: Int, _ isGlobal: Bool) -> String? {
        let characters = Array(line)
        var out = ""
        var position = 0, count = 0
        var isChanged = false
        var lastEnd = -1
        while position <= characters.count, let (range, groups) = pattern.match(in: line, from: position) {
            // Nothing is no match right behind another one.
            if range.isEmpty, range.lowerBound == lastEnd {
                if position < characters.count { out.append(characters[position]) }
                position += 1
                lastEnd = -1
                continue
            }
            lastEnd = range.upperBound
            count += 1
            out += String(characters[position..<range.lowerBound])
            if count >= number {
                isChanged = true
                for part in parts {
                    switch part {
                    case .text(let text): out += text
                    case .group(let group):
                        let found = group == 0 ? range : group <= groups.count ? groups[group - 1] : nil
                        if let found { out += String(characters[found]) }
                    }
                }
            } else {
                out += String(characters[range])
            }
            position = range.upperBound
            // An empty match takes a character along, or the next would be the same.
            if range.isEmpty {
                if position < characters.count { out.append(characters[position]) }
                position += 1
            }
            if isChanged, !isGlobal { break }
        }
        guard isChanged else { return nil }
        return position < characters.count ? out + String(characters[position...]) : out
    }

    // MARK: Scripts

    private struct Reader {
        let text: [Character]
        let isExtended: Bool
        var position = 0
        var problem = "unknown command"

        init(text: [Character], isExtended: Bool) { (self.text, self.isExtended) = (text, isExtended) }

        private var next: Character? { position < text.count ? text[position] : nil }
        private mutating func skip(_ isSkipped: (Character) -> Bool) { while let c = next, isSkipped(c) { position += 1 } }

        mutating func commands() -> [Command]? {
            var result: [Command] = []
            while true {
                skip { $0.isWhitespace || $0 == ";" }
                guard next != nil else { return result }
                guard let command = command() else { return nil }
                result.append(command)
                skip { $0 == " " }
                if let c = next, c != ";", c != "\n" {
                    problem = "extra characters after command"
                    return nil
                }
            }
        }

        private mutating func command() -> Command? {
            let start = position
            let from = address()
            if from == nil, position != start { return nil }
            var to: Address?
            if from != nil, next == "," {
                position += 1
                to = address()
                guard to != nil else {
                    problem = "unexpected `,'"
                    return nil
                }
            }
            skip { $0 == " " }
            let isNegated = next == "!"
            if isNegated { position += 1 }
            skip { $0 == " " }
            guard let letter = next else {
                problem = "missing command"
                return nil
            }
            position += 1
            let action: Action?
            switch letter {
            case "d": action = .delete
            case "p": action = .print
            case "q": action = .quit
            case "=": action = .number
            case "s": action = substitution()
            default:
                problem = "unknown command: `\(letter)'"
                action = nil
            }
            return action.map { Command(from: from, to: to, isNegated: isNegated, action: $0) }
        }

        private mutating func address() -> Address? {
            if let number = self.number() { return .line(number) }
            if next == "$" {
                position += 1
                return .last
            }
            guard next == "/" else { return nil }
            position += 1
            guard let source = part(until: "/"), let pattern = BasicPattern(source, extended: isExtended, ignoresCase: false) else {
                problem = "unterminated address regex"
                return nil
            }
            return .pattern(pattern)
        }

        private mutating func number() -> Int? {
            var digits = ""
            while let c = next, c.isASCII, c.isNumber {
                digits.append(c)
                position += 1
            }
            return Int(digits.prefix(9))
        }

        /// Up to a separator, whose escaped form stands for itself; nil without one.
        private mutating func part(until separator: Character) -> String? {
            var result = ""
            while let c = next, c != separator {
                position += 1
                if c == "\\", let escaped = next {
                    position += 1
                    result += escaped == separator ? String(escaped) : "\\" + String(escaped)
                } else {
                    result.append(c)
                }
            }
            guard next != nil else { return nil }
            position += 1
            return result
        }

        private mutating func substitution() -> Action? {
            problem = "unterminated `s' command"
            guard let separator = next, separator != "\n", separator != "\\" else { return nil }
            position += 1
            guard let source = part(until: separator), let target = part(until: separator) else { return nil }
            var number = 1
            var isGlobal = false, prints = false, ignoresCase = false
            while let c = next, c != ";", c != "\n", c != " " {
                if let given = self.number() {
                    number = max(given, 1)
                    continue
                }
                position += 1
                switch c {
                case "g": isGlobal = true
                case "p": prints = true
                case "i", "I": ignoresCase = true
                default:
                    problem = "unknown option to `s'"
                    return nil
                }
            }
            guard let pattern = BasicPattern(source, extended: isExtended, ignoresCase: ignoresCase) else {
                problem = "Invalid preceding regular expression"
                return nil
            }
            guard let parts = replacement(target, groups: pattern.groupCount) else { return nil }
            return .substitute(pattern, replacement: parts, number: number, isGlobal: isGlobal, prints: prints)
        }

        private mutating func replacement(_ text: String, groups: Int) -> [Part]? {
            var parts: [Part] = []
            var literal = ""
            func flushed() -> [Part] { literal.isEmpty ? [] : [.text(literal)] }
            var characters = Array(text)[...]
            while let c = characters.popFirst() {
                if c == "&" {
                    parts += flushed() + [.group(0)]
                    literal = ""
                } else if c == "\\", let escaped = characters.popFirst() {
                    if escaped.isASCII, let group = escaped.wholeNumberValue {
                        guard group <= groups else {
                            problem = "invalid reference \\\(group) on `s' command's RHS"
                            return nil
                        }
                        parts += flushed() + [.group(group)]
                        literal = ""
                    } else {
                        literal.append(escaped == "n" ? "\n" : escaped == "t" ? "\t" : escaped)
                    }
                } else {
                    literal.append(c)
                }
            }
            return parts + flushed()
        }
    }
}
