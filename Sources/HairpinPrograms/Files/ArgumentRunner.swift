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
