/// `echo`, `printf` and `test`, shared by the shell's built-ins and the commands of the same name.

enum Echo {
    /// - Parameter escapes: dash's echo interprets backslashes without being asked.
    static func format(_ arguments: [String], escapes: Bool) -> String {
        var rest = arguments[...]
        var newline = true
        var interprets = escapes
        while let word = rest.first, word.count > 1, word.hasPrefix("-"), word.dropFirst().allSatisfy({ "neE".contains($0) }) {
            if escapes, word != "-n", word != "-e" { break }
            if word.contains("n") { newline = false }
            if word.contains("e") { interprets = true }
            rest.removeFirst()
        }
        let text = rest.joined(separator: " ")
        return (interprets ? unescaped(text) : text) + (newline ? "\n" : "")
    }
}

enum Printf {
    /// The formatted text; the format is used again while arguments remain.
    static func format(_ format: String, _ arguments: [String]) -> (text: String, errors: [String]) {
        var rest = arguments[...]
        var result = ""
        var errors: [String] = []
        repeat {
            let before = rest.count
            result += pass(format, &rest, &errors)
            if rest.count == before { break }
        } while !rest.isEmpty
        return (result, errors)
    }

    private static func pass(_ format: String, _ rest: inout ArraySlice<String>, _ errors: inout [String]) -> String {
        let characters = Array(unescaped(format))
        var result = ""
        var i = 0
        while i < characters.count {
            guard characters[i] == "%" else {
                result.append(characters[i])
                i += 1
                continue
            }
            i += 1
            if i < characters.count, characters[i] == "%" {
                result.append("%")
                i += 1
                continue
            }
            var flags = ""
            var width = ""
            var precision: String?
            while i < characters.count, "-+ 0#".contains(characters[i]) {
                flags.append(characters[i])
                i += 1
            }
            while i < characters.count, characters[i].isNumber {
                width.append(characters[i])
                i += 1
            }
            if i < characters.count, characters[i] == "." {
                i += 1
                precision = ""
                while i < characters.count, characters[i].isNumber {
                    precision!.append(characters[i])
                    i += 1
                }
            }
            guard i < characters.count else { break }
            let conversion = characters[i]
            i += 1
            let argument = rest.popFirst()
            var piece: String
            switch conversion {
            case "s": piece = argument ?? ""
            case "b": piece = unescaped(argument ?? "")
            case "c": piece = String((argument ?? "").prefix(1))
            case "d", "i", "u", "x", "X", "o":
                let number = ShellArithmetic.integer(argument ?? "0")
                if number == nil, let argument, !argument.isEmpty { errors.append("\(argument): expected numeric value") }
                let value = number ?? 0
                switch conversion {
                case "x": piece = String(UInt64(bitPattern: value), radix: 16)
                case "X": piece = String(UInt64(bitPattern: value), radix: 16, uppercase: true)
                case "o": piece = String(UInt64(bitPattern: value), radix: 8)
                default: piece = (flags.contains("+") && value >= 0 ? "+" : "") + String(value)
                }
            case "f", "g", "e": piece = fixed(Double(argument ?? "0") ?? 0, precision.map { min(Int($0) ?? 0, 18) } ?? 6)
            default: piece = "%\(conversion)"
            }
            if let precision, conversion == "s", let limit = Int(precision) { piece = String(piece.prefix(limit)) }
            let columns = min(Int(width) ?? 0, 10_000)
            if flags.contains("-") {
                piece = padded(piece, columns)
            } else {
                piece = leftPadded(piece, columns, with: flags.contains("0") && conversion != "s" ? "0" : " ")
            }
            result += piece
        }
        return result
    }
}

extension Shell {
    func printf(_ arguments: [String], _ system: any SystemCalls) -> Int32 {
        var rest = arguments[...]
        if rest.first == "--" { rest.removeFirst() }
        guard let format = rest.popFirst() else {
            complain("printf: usage: printf format [arg ...]", system)
            return 2
        }
        let (text, errors) = Printf.format(format, Array(rest))
        emitOutput(text, system)
        for error in errors { complain("printf: \(error)", system) }
        return errors.isEmpty ? 0 : 1
    }

    func evaluateTest(_ words: [String], _ system: any SystemCalls) -> Int32 {
        var arguments = Array(words.dropFirst())
        if words[0] == "[" {
            guard arguments.last == "]" else {
                complain("[: missing ]", system)
                return 2
            }
            arguments.removeLast()
        }
        var test = TestExpression(arguments, folder: variables["PWD"] ?? "/", system)
        do throws(TestExpression.Failure) {
            return try test.evaluate() ? 0 : 1
        } catch {
            complain("\(words[0]): \(error.message)", system)
            return 2
        }
    }
}

/// The expression of `test` and `[` (POSIX.1 XCU "test"), with `-a`, `-o`, `!` and parentheses.
struct TestExpression {
    struct Failure: Error { var message: String }
    private let words: [String]
    private var position = 0
    private let folder: String
    private let system: any SystemCalls

    init(_ words: [String], folder: String, _ system: any SystemCalls) {
        self.words = words
        self.folder = folder
        self.system = system
    }

    mutating func evaluate() throws(Failure) -> Bool {
        if words.isEmpty { return false }
        let result = try disjunction()
        guard position == words.count else { throw Failure(message: "unexpected operator") }
        return result
    }

    private mutating func disjunction() throws(Failure) -> Bool {
        var result = try conjunction()
        while position < words.count, words[position] == "-o" {
            position += 1
            let right = try conjunction()
            result = result || right
        }
        return result
    }

    private mutating func conjunction() throws(Failure) -> Bool {
        var result = try primary()
        while position < words.count, words[position] == "-a" {
            position += 1
            let right = try primary()
            result = result && right
        }
        return result
    }

    private mutating func primary() throws(Failure) -> Bool {
        guard position < words.count else { throw Failure(message: "argument expected") }
        let rest = words.count - position
        // A binary operator in the middle wins over everything else.
        if rest >= 3, let result = try binary(words[position], words[position + 1], words[position + 2]) {
            position += 3
            return result
        }
        let word = words[position]
        if word == "!", rest > 1 {
            position += 1
            return !(try primary())
        }
        if word == "(", rest > 1 {
            position += 1
            let result = try disjunction()
            guard position < words.count, words[position] == ")" else { throw Failure(message: "closing paren expected") }
            position += 1
            return result
        }
        if rest >= 2, word.count == 2, word.hasPrefix("-"), let result = unary(word, words[position + 1]) {
            position += 2
            return result
        }
        position += 1
        return !word.isEmpty
    }

    private func unary(_ operation: String, _ operand: String) -> Bool? {
        let path = absolutePath(operand, in: folder)
        switch operation {
        case "-z": return operand.isEmpty
        case "-n": return !operand.isEmpty
        case "-e", "-r", "-w": return system.readFile(path, from: 0) != nil || system.listFolder(path) != nil
        case "-f": return system.readFile(path, from: 0) != nil && system.listFolder(path) == nil
        case "-s": return system.readFile(path, from: 0)?.isEmpty == false
        case "-d": return system.listFolder(path) != nil
        case "-x": return system.listFolder(path) != nil || CommandTable.path(of: String(operand.split(separator: "/").last ?? "")) != nil
        case "-t", "-L", "-h", "-p", "-S": return false
        default: return nil
        }
    }

    private func binary(_ left: String, _ operation: String, _ right: String) throws(Failure) -> Bool? {
        switch operation {
        case "=", "==": return left == right
        case "!=": return left != right
        case "<": return left < right
        case ">": return left > right
        case "=~": return BasicPattern(right, extended: true, ignoresCase: false)?.firstMatch(in: left) != nil
        case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
            guard let a = Int64(trimmed(left)) else { throw Failure(message: "Illegal number: \(left)") }
            guard let b = Int64(trimmed(right)) else { throw Failure(message: "Illegal number: \(right)") }
            switch operation {
            case "-eq": return a == b
            case "-ne": return a != b
            case "-lt": return a < b
            case "-le": return a <= b
            case "-gt": return a > b
            default: return a >= b
            }
        default: return nil
        }
    }
}
