import HairpinEngine

/// Whose command-line tools a container image carries. Output differs in wording; behaviour on the wire differs in places too.
public enum Userland: String, Sendable { case gnu, busybox }

/// A command that never waits: it prints and exits.
final class Immediate: Program {
    private let body: (any SystemCalls) -> Int32
    init(_ body: @escaping (any SystemCalls) -> Int32) { self.body = body }
    func resume(_ system: any SystemCalls) -> Suspension { .exit(body(system)) }
}

/// A command that reads all its input (the named files, or its standard input), then runs.
final class WholeInput: Program {
    struct Source {
        /// "-" for standard input.
        var name: String
        var bytes: [UInt8]
    }
    private let name: String
    private let files: [String]
    private let body: (any SystemCalls, [Source]) -> Int32
    private var input: [UInt8] = []

    init(_ name: String, files: [String], _ body: @escaping (any SystemCalls, [Source]) -> Int32) {
        self.name = name
        self.files = files
        self.body = body
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if files.isEmpty || files.contains("-") {
            switch drainInput(system, into: &input) {
            case .waiting(let set): return .wait(set)
            case .ended: break
            }
        }
        var sources: [Source] = []
        var failed = false
        if files.isEmpty { sources.append(Source(name: "-", bytes: input)) }
        for file in files {
            if file == "-" {
                sources.append(Source(name: "-", bytes: input))
            } else if let bytes = system.readFile(absolutePath(file, system)) {
                sources.append(Source(name: file, bytes: bytes))
            } else {
                system.writeError(fileError(name, file, system))
                failed = true
            }
        }
        if sources.isEmpty { return .exit(name == "grep" ? 2 : 1) }
        let status = body(system, sources)
        return .exit(failed ? (name == "grep" ? 2 : 1) : status)
    }
}

enum InputState {
    case waiting(WaitSet)
    case ended
}

/// Moves what standard input has to offer into `buffer`.
func drainInput(_ system: any SystemCalls, into buffer: inout [UInt8]) -> InputState {
    while true {
        guard let bytes = system.readInput(65536) else { return .waiting(inputWait(system)) }
        if bytes.isEmpty { return .ended }
        buffer += bytes
    }
}

/// What to wait for when standard input has nothing yet.
func inputWait(_ system: any SystemCalls) -> WaitSet {
    var set = WaitSet()
    switch system.streams.input {
    case .pipe(let pipe): set.pipes = [pipe]
    case .file(let path, _): set.files = [path]
    default: break
    }
    return set
}

/// Resolves a path against the shell's working folder (`PWD`), and removes `.`, `..` and doubled slashes.
func absolutePath(_ path: String, _ system: any SystemCalls) -> String { absolutePath(path, in: system.environment("PWD") ?? "/") }

func absolutePath(_ path: String, in folder: String) -> String {
    let full = path.hasPrefix("/") ? path : folder + "/" + path
    var parts: [Substring] = []
    for part in full.split(separator: "/") {
        switch part {
        case ".": break
        case "..": _ = parts.popLast()
        default: parts.append(part)
        }
    }
    return "/" + parts.joined(separator: "/")
}

/// "cat: /x: No such file or directory", or "Is a directory".
func fileError(_ command: String, _ file: String, _ system: any SystemCalls) -> String {
    let reason = system.listFolder(absolutePath(file, system)) == nil ? "No such file or directory" : "Is a directory"
    return "\(command): \(file): \(reason)\n"
}

/// Options in the manner of getopt(3): clustered letters, values attached or in the next word, `--` ends them, long options by name.
struct Options {
    /// Letters in the order given, each with its value ("" without one). Long options keep their full name.
    private(set) var given: [(name: String, value: String)] = []
    private(set) var operands: [String] = []
    /// The first option that is not known, as typed.
    private(set) var unknown: String?
    /// The first option whose value is missing.
    private(set) var incomplete: String?

    /// - Parameters:
    ///   - flags: letters without a value.
    ///   - values: letters with a value.
    ///   - long: long names (without dashes) and the letter each stands for; a trailing "=" marks those with a value.
    ///   - stopsAtOperand: options end at the first operand, as POSIX says (`+` in getopt's string).
    init(_ arguments: [String], flags: String, values: String = "", long: [(String, String)] = [], stopsAtOperand: Bool = false) {
        var i = 0
        while i < arguments.count {
            let word = arguments[i]
            i += 1
            if word == "--" {
                operands += arguments[i...]
                return
            }
            if word.hasPrefix("--") {
                let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                let name = String(parts.first ?? "")
                if let match = long.first(where: { $0.0 == name }) {
                    given.append((match.1, ""))
                    if parts.count == 2 { given[given.count - 1].value = String(parts[1]) }
                } else if let match = long.first(where: { $0.0 == name + "=" }) {
                    if parts.count == 2 {
                        given.append((match.1, String(parts[1])))
                    } else if i < arguments.count {
                        given.append((match.1, arguments[i]))
                        i += 1
                    } else if incomplete == nil {
                        incomplete = word
                    }
                } else if unknown == nil {
                    unknown = word
                }
            } else if word.hasPrefix("-"), word != "-" {
                var letters = word.dropFirst()
                while let letter = letters.popFirst() {
                    if values.contains(letter) {
                        if !letters.isEmpty {
                            given.append((String(letter), String(letters)))
                            letters = ""
                        } else if i < arguments.count {
                            given.append((String(letter), arguments[i]))
                            i += 1
                        } else if incomplete == nil {
                            incomplete = "-\(letter)"
                        }
                    } else if flags.contains(letter) {
                        given.append((String(letter), ""))
                    } else if unknown == nil {
                        unknown = "-\(letter)"
                    }
                }
            } else {
                operands.append(word)
                if stopsAtOperand {
                    operands += arguments[i...]
                    return
                }
            }
        }
    }

    func has(_ name: String) -> Bool { given.contains { $0.name == name } }
    /// The last value given for an option.
    subscript(_ name: String) -> String? { given.last { $0.name == name }?.value }
    func all(_ name: String) -> [String] { given.filter { $0.name == name }.map(\.value) }
}

/// A program that writes one usage error and exits.
func usageError(_ text: String, status: Int32 = 1) -> Immediate {
    Immediate { system in
        system.writeError(text)
        return status
    }
}
