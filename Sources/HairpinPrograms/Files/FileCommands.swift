import HairpinEngine

/// cat: copies as input comes, so that `… | cat` streams.
final class Cat: Program {
    private var files: [String]
    private let numbersLines: Bool
    private var status: Int32 = 0
    private var lineNumber = 1, atLineStart = true
    init(_ arguments: [String]) {
        let options = Options(arguments, flags: "nuveAETbs")
        files = options.operands.isEmpty ? ["-"] : options.operands
        numbersLines = options.has("n")
    }
    func resume(_ system: any SystemCalls) -> Suspension {
        while let file = files.first {
            if file == "-" || file == "/dev/stdin" {
                guard let bytes = system.readInput(65536) else { return .wait(inputWait(system)) }
                if !bytes.isEmpty {
                    write(bytes, system)
                    continue
                }
            } else if file == "/dev/null" {
                // Nothing to copy.
            } else if let bytes = system.readFile(absolutePath(file, system)) {
                write(bytes, system)
            } else {
                system.writeError(fileError("cat", file, system))
                status = 1
            }
            files.removeFirst()
        }
        return .exit(status)
    }
    private func write(_ bytes: [UInt8], _ system: any SystemCalls) {
        guard numbersLines else {
            system.writeOutput(text(bytes))
            return
        }
        var out = ""
        for line in text(bytes).split(separator: "\n", omittingEmptySubsequences: false) {
            if !out.isEmpty { out += "\n" }
            if !line.isEmpty || out.isEmpty {
                out += "\(leftPadded(lineNumber, 6))\t\(line)"
                lineNumber += 1
            }
        }
        system.writeOutput(out)
    }
}

/// tail, with -f and -F: waits for files to grow.
final class Tail: Program {
    private var count = 10, fromStart = false, inBytes = false
    private let follows: Bool
    private let files: [String]
    private var offsets: [Int] = []
    private var input: [UInt8] = []
    private var isStarted = false
    private var lastShown = -1
    private let isQuiet: Bool
    private let problem: String?

    init(_ arguments: [String]) {
        // The old form "-5" is "-n 5".
        let modern = arguments.flatMap { word in
            word.count > 1 && word.hasPrefix("-") && word.dropFirst().allSatisfy(\.isNumber) ? ["-n", String(word.dropFirst())] : [word]
        }
        let options = Options(modern, flags: "fFqvr", values: "ncs", long: [("follow", "f"), ("lines=", "n"), ("bytes=", "c"), ("retry", "r"), ("quiet", "q")])
        files = options.operands
        follows = options.has("f") || options.has("F")
        isQuiet = options.has("q")
        inBytes = options.has("c")
        var problem: String?
        if let text = options["n"] ?? options["c"] {
            fromStart = text.hasPrefix("+")
            if let number = Int(text.hasPrefix("+") || text.hasPrefix("-") ? String(text.dropFirst()) : text) {
                count = number
            } else {
                problem = "tail: invalid number of lines: ‘\(text)’\n"
            }
        }
        self.problem = problem
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if let problem {
            system.writeError(problem)
            return .exit(1)
        }
        if files.isEmpty {
            if case .waiting(let set) = drainInput(system, into: &input) { return .wait(set) }
            system.writeOutput(text(end(of: input)))
            return .exit(0)
        }
        if !isStarted {
            isStarted = true
            var status: Int32 = 0
            for (index, file) in files.enumerated() {
                offsets.append(0)
                if file == "/dev/null" { continue }
                guard let bytes = system.readFile(absolutePath(file, system)) else {
                    system.writeError("tail: cannot open '\(file)' for reading: No such file or directory\n")
                    status = 1
                    continue
                }
                header(index, system)
                system.writeOutput(text(end(of: bytes)))
                offsets[index] = bytes.count
            }
            if !follows { return .exit(status) }
        } else {
            for (index, file) in files.enumerated() where file != "/dev/null" {
                guard let bytes = system.readFile(absolutePath(file, system), from: offsets[index]) else {
                    // Gone or shorter than before: start again from its beginning.
                    offsets[index] = 0
                    continue
                }
                if bytes.isEmpty, let all = system.readFile(absolutePath(file, system)), all.count < offsets[index] {
                    system.writeError("tail: \(file): file truncated\n")
                    offsets[index] = 0
                    header(index, system)
                    system.writeOutput(text(all))
                    offsets[index] = all.count
                } else if !bytes.isEmpty {
                    header(index, system)
                    system.writeOutput(text(bytes))
                    offsets[index] += bytes.count
                }
            }
        }
        var set = WaitSet()
        set.files = files.filter { $0 != "/dev/null" }.map { absolutePath($0, system) }
        return .wait(set)
    }

    private func header(_ index: Int, _ system: any SystemCalls) {
        if files.count > 1, !isQuiet, lastShown != index { system.writeOutput("\(lastShown == -1 ? "" : "\n")==> \(files[index]) <==\n") }
        lastShown = index
    }

    private func end(of bytes: [UInt8]) -> ArraySlice<UInt8> {
        if inBytes { return fromStart ? bytes.dropFirst(max(0, count - 1)) : bytes.suffix(count) }
        if fromStart {
            var start = 0
            for _ in 0..<max(0, count - 1) {
                guard let newline = bytes[start...].firstIndex(of: 10) else { return [] }
                start = newline + 1
            }
            return bytes[start...]
        }
        guard count > 0 else { return [] }
        var start = bytes.count
        var left = count
        if bytes.last == 10 { start -= 1 }
        while start > 0 {
            if bytes[start - 1] == 10 {
                left -= 1
                if left == 0 { break }
            }
            start -= 1
        }
        return bytes[start...]
    }
}

/// head: stops reading as soon as it has enough, so that a stream before it can end.
final class Head: Program {
    private var count = 10, inBytes = false
    private let files: [String]
    private var input: [UInt8] = []
    init(_ arguments: [String]) {
        let modern = arguments.flatMap { word in
            word.count > 1 && word.hasPrefix("-") && word.dropFirst().allSatisfy(\.isNumber) ? ["-n", String(word.dropFirst())] : [word]
        }
        let options = Options(modern, flags: "qv", values: "nc", long: [("lines=", "n"), ("bytes=", "c")])
        files = options.operands
        inBytes = options.has("c")
        count = (options["n"] ?? options["c"]).flatMap { Int($0) } ?? 10
    }
    func resume(_ system: any SystemCalls) -> Suspension {
        if files.isEmpty || files == ["-"] {
            while !isEnough {
                guard let bytes = system.readInput(4096) else { return .wait(inputWait(system)) }
                if bytes.isEmpty { break }
                input += bytes
            }
            system.writeOutput(text(start(of: input)))
            return .exit(0)
        }
        var status: Int32 = 0
        for (index, file) in files.enumerated() {
            guard let bytes = system.readFile(absolutePath(file, system)) else {
                system.writeError("head: cannot open '\(file)' for reading: No such file or directory\n")
                status = 1
                continue
            }
            if files.count > 1 { system.writeOutput("\(index > 0 ? "\n" : "")==> \(file) <==\n") }
            system.writeOutput(text(start(of: bytes)))
        }
        return .exit(status)
    }
    private var isEnough: Bool { inBytes ? input.count >= count : input.reduce(0) { $0 + ($1 == 10 ? 1 : 0) } >= count }
    private func start(of bytes: [UInt8]) -> ArraySlice<UInt8> {
        if inBytes { return bytes.prefix(max(0, count)) }
        if count < 0 { return lines(text(bytes)).dropLast(-count).map { Array(($0 + "\n").utf8) }.joined().map { $0 }[...] }
        var end = 0
        for _ in 0..<count {
            guard let newline = bytes[end...].firstIndex(of: 10) else { return bytes[...] }
            end = newline + 1
        }
        return bytes[..<end]
    }
}

/// tee: to standard output and to files.
final class Tee: Program {
    private let options: Options
    private var isStarted = false
    init(_ arguments: [String]) { options = Options(arguments, flags: "ai") }
    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            for file in options.operands where !system.writeFile(absolutePath(file, system), [], append: options.has("a")) {
                system.writeError("tee: \(file): No such file or directory\n")
            }
        }
        while true {
            guard let bytes = system.readInput(65536) else { return .wait(inputWait(system)) }
            if bytes.isEmpty { return .exit(0) }
            system.writeOutput(text(bytes))
            for file in options.operands { _ = system.writeFile(absolutePath(file, system), bytes, append: true) }
        }
    }
}

/// ls, touch, mkdir, rm, cp, mv.
enum FileCommands {
    static func ls(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(arguments, flags: "la1AhRtrFd", long: [("color=", "color"), ("color", "color")])
            let targets = options.operands.isEmpty ? ["."] : options.operands
            var status: Int32 = 0
            for (index, target) in targets.enumerated() {
                let path = absolutePath(target, system)
                if let names = system.listFolder(path) {
                    if targets.count > 1 { system.writeOutput("\(index > 0 ? "\n" : "")\(target):\n") }
                    let visible = names.filter { options.has("a") || options.has("A") || !$0.hasPrefix(".") }
                    if options.has("l") { system.writeOutput("total \(visible.count * 4)\n") }
                    for name in visible { show(name, path + "/" + name, options.has("l"), system) }
                } else if system.readFile(path) != nil {
                    show(target, path, options.has("l"), system)
                } else {
                    system.writeError("ls: cannot access '\(target)': No such file or directory\n")
                    status = 2
                }
            }
            return status
        }
    }

    private static func show(_ name: String, _ path: String, _ long: Bool, _ system: any SystemCalls) {
        guard long else {
            system.writeOutput(name + "\n")
            return
        }
        let isFolder = system.listFolder(path) != nil
        let size = system.readFile(path)?.count ?? 4096
        system.writeOutput("\(isFolder ? "drwxr-xr-x 2" : "-rw-r--r-- 1") root root \(leftPadded(size, 8)) Jan  1 00:00 \(name)\n")
    }

    static func touch(_ arguments: [String]) -> any Program {
        Immediate { system in
            var status: Int32 = 0
            for file in Options(arguments, flags: "acm", values: "dtr").operands where !system.writeFile(absolutePath(file, system), [], append: true) {
                system.writeError("touch: cannot touch '\(file)': No such file or directory\n")
                status = 1
            }
            return status
        }
    }

    static func mkdir(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(arguments, flags: "pv", values: "m")
            var status: Int32 = 0
            for folder in options.operands {
                let path = absolutePath(folder, system)
                if system.listFolder(path) != nil {
                    if !options.has("p") {
                        system.writeError("mkdir: cannot create directory '\(folder)': File exists\n")
                        status = 1
                    }
                } else if options.has("p") {
                    var partial = ""
                    for part in path.split(separator: "/") {
                        partial += "/" + part
                        if system.listFolder(partial) == nil, !system.makeFolder(partial) { status = 1 }
                    }
                } else if !system.makeFolder(path) {
                    system.writeError("mkdir: cannot create directory '\(folder)': No such file or directory\n")
                    status = 1
                }
            }
            return status
        }
    }

    static func rm(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(arguments, flags: "rRfvi")
            var status: Int32 = 0
            func remove(_ path: String) -> Bool {
                if options.has("r") || options.has("R"), let names = system.listFolder(path) {
                    for name in names { _ = remove(path + "/" + name) }
                }
                return system.removeFile(path)
            }
            for file in options.operands where !remove(absolutePath(file, system)) && !options.has("f") {
                system.writeError("rm: cannot remove '\(file)': No such file or directory\n")
                status = 1
            }
            return status
        }
    }

    static func copy(_ arguments: [String], moves: Bool) -> any Program {
        Immediate { system in
            let name = moves ? "mv" : "cp"
            let operands = Options(arguments, flags: "frRpavi").operands
            guard operands.count >= 2, let target = operands.last else {
                system.writeError("\(name): missing file operand\n")
                return 1
            }
            var status: Int32 = 0
            for source in operands.dropLast() {
                guard let bytes = system.readFile(absolutePath(source, system)) else {
                    system.writeError("\(name): cannot stat '\(source)': No such file or directory\n")
                    status = 1
                    continue
                }
                var path = absolutePath(target, system)
                if system.listFolder(path) != nil { path += "/" + (source.split(separator: "/").last ?? "") }
                if !system.writeFile(path, bytes, append: false) {
                    system.writeError("\(name): cannot create regular file '\(target)': No such file or directory\n")
                    status = 1
                } else if moves {
                    _ = system.removeFile(absolutePath(source, system))
                }
            }
            return status
        }
    }
}
