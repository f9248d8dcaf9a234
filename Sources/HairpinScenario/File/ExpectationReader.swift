import HairpinCluster
import HairpinDatapath
import HairpinEngine

/// Reads the entries of `spec.expect`.
enum ExpectationReader {
    static func read(_ value: YAMLValue, steps: [String]) throws(InputError) -> [Expectation] {
        try value.checkKeys(["step", "exit", "stdout", "stderr", "duration", "requests", "drops", "frames", "captures"])
        let position = value.position
        func one(_ subject: Expectation.Subject) -> [Expectation] { [Expectation(subject: subject, position: position)] }
        let subjects = try value.entries().map(\.key)
        if let step = value["step"] { return try one(self.step(value, step, steps: steps)) }
        let others = ["drops", "frames", "captures"].filter(subjects.contains)
        if let stray = ["exit", "stdout", "stderr", "duration", "requests"].first(where: subjects.contains) {
            throw (value[stray] ?? value).error(problem: "belongs to a step", fix: "Add \"step: ID\" beside it.")
        }
        guard others.count == 1 else {
            throw value.error(
                problem: others.isEmpty ? "expects nothing" : "expects several things at once", fix: "Write one of step, drops, frames or captures in each entry.")
        }
        if let drops = value["drops"] {
            if drops.isScalar { return try one(.drops(reason: nil, bounds(drops))) }
            try drops.checkKeys(["reason", "policy", "minimum", "maximum", "exactly"])
            if let policy = drops["policy"] {
                if let reason = drops["reason"] { throw reason.error(problem: "stands beside a policy", fix: "Keep one of them: a policy's drops have reasons of their own.") }
                let words = try policy.string().split(separator: "/", omittingEmptySubsequences: false)
                guard words.count <= 2, words.allSatisfy({ !$0.isEmpty }) else {
                    throw policy.error(problem: "names no NetworkPolicy", fix: "Write NAMESPACE/NAME, or NAME in namespace default.")
                }
                return try one(.policyDrops(policy: words.count == 2 ? words.joined(separator: "/") : "default/\(words[0])", bounds(drops)))
            }
            let reason: String? = if let reason = drops["reason"] { try self.reason(reason) } else { nil }
            return try one(.drops(reason: reason, bounds(drops)))
        }
        if let frames = value["frames"] {
            try frames.checkKeys(["on", "filter", "minimum", "maximum", "exactly"])
            let interface = try frames.require("on", fix: "Add \"on: node1:cni0\", a pattern over HOST:INTERFACE.").scalarText()
            return try one(.frames(on: interface, filter: frames.string("filter") ?? "", bounds(frames)))
        }
        return try one(.captures(captures(value.require("captures"))))
    }

    private static func step(_ value: YAMLValue, _ step: YAMLValue, steps: [String]) throws(InputError) -> Expectation.Subject {
        let id = try step.scalarText()
        guard steps.contains(id) else {
            let near = nearestWord(to: id, among: steps).map { "Did you mean \"\($0)\"?" }
            throw step.error(
                problem: "is not the id of a step", fix: near ?? (steps.isEmpty ? "The scenario has no steps." : "The steps are \(steps.joined(separator: ", "))."))
        }
        try value.checkKeys(["step", "exit", "stdout", "stderr", "duration", "requests"])
        var conditions: [StepCondition] = []
        if let exit = value["exit"] { conditions.append(.exit(Int32(try exit.integer(in: 0...255)))) }
        for stream in [StreamName.stdout, .stderr] {
            if let text = value[stream.rawValue] { conditions += try self.text(text).map { StepCondition.output(stream, $0) } }
        }
        if let duration = value["duration"] {
            try duration.checkKeys(["minimum", "maximum"])
            let minimum: Duration? = if let value = duration["minimum"] { try value.duration() } else { nil }
            let maximum: Duration? = if let value = duration["maximum"] { try value.duration() } else { nil }
            guard minimum != nil || maximum != nil else { throw duration.error(problem: "has no limit", fix: "Add \"maximum: 1s\".") }
            conditions.append(.duration(minimum: minimum, maximum: maximum))
        }
        if let requests = value["requests"] {
            let known = ["sent", "answered", "lost"] + RequestsResult.causes
            try requests.checkKeys(known)
            for key in known { if let bound = requests[key] { conditions.append(.requests(key, try bounds(bound))) } }
        }
        guard !conditions.isEmpty else { throw value.error(problem: "expects nothing of its step", fix: "Add \"exit: 0\" or \"stdout: {contains: …}\".") }
        return .step(id, conditions)
    }

    /// A plain text is the whole output; a mapping holds any number of conditions.
    private static func text(_ value: YAMLValue) throws(InputError) -> [TextCondition] {
        if value.isScalar { return [.equals(try value.scalarText())] }
        try value.checkKeys(["contains", "excludes", "equals", "matches", "lines", "distinctLines", "eachLine", "counts", "empty"])
        var conditions: [TextCondition] = []
        for (key, condition) in try value.entries() {
            switch key {
            case "contains": conditions += try texts(condition).map { .contains($0) }
            case "excludes": conditions += try texts(condition).map { .excludes($0) }
            case "equals": conditions.append(.equals(try condition.scalarText()))
            case "matches":
                for pattern in try texts(condition) {
                    guard TextCondition.isValid(pattern: pattern) else {
                        throw condition.error(
                            problem: "is not a regular expression", fix: "Check its brackets and backslashes; in single quotes YAML keeps them as they are.")
                    }
                    conditions.append(.matches(pattern))
                }
            case "lines": conditions.append(.lines(try bounds(condition)))
            case "distinctLines": conditions.append(.distinctLines(try condition.integer(in: 0...Int(Int32.max))))
            case "eachLine": conditions.append(.eachLine(try bounds(condition)))
            case "counts":
                for (text, count) in try condition.entries() { conditions.append(.counts(text: text, try bounds(count))) }
            default:
                guard try condition.bool() else { throw condition.error(problem: "says nothing", fix: "Write \"empty: true\", or \"lines: {minimum: 1}\".") }
                conditions.append(.empty)
            }
        }
        guard !conditions.isEmpty else { throw value.error(problem: "expects nothing of the text", fix: "Add \"contains: …\", \"equals: …\" or another condition.") }
        return conditions
    }

    /// One text, or several that must all hold.
    private static func texts(_ value: YAMLValue) throws(InputError) -> [String] {
        if value.isScalar { return [try value.scalarText()] }
        var result: [String] = []
        for item in try value.items() { result.append(try item.scalarText()) }
        return result
    }

    private static func captures(_ value: YAMLValue) throws(InputError) -> [CaptureCondition] {
        try value.checkKeys(["interfaces", "frames", "sha256"])
        var conditions = (try value.strings("interfaces") ?? []).map { CaptureCondition.interface($0) }
        if let frames = value["frames"] { conditions.append(.frames(try bounds(frames))) }
        if let digest = value["sha256"] {
            let text = try digest.scalarText()
            guard text.utf8.count == 64, text.allSatisfy(\.isHexDigit) else {
                throw digest.error(problem: "is not a SHA-256", fix: "Write 64 hexadecimal digits, as sha256sum prints them.")
            }
            conditions.append(.sha256(text))
        }
        guard !conditions.isEmpty else {
            throw value.error(problem: "expects nothing of the captures", fix: "Add \"interfaces: [...]\", \"frames: {minimum: 1}\" or \"sha256: …\".")
        }
        return conditions
    }

    /// A number is exact; a mapping has minimum and maximum, or exactly.
    private static func bounds(_ value: YAMLValue) throws(InputError) -> Bounds {
        let range = 0...Int(Int32.max)
        if value.isScalar { return .exactly(try value.integer(in: range)) }
        _ = try value.entries()
        let minimum = try value.integer("minimum", in: range)
        let maximum = try value.integer("maximum", in: range)
        if let exactly = value["exactly"] {
            guard minimum == nil, maximum == nil else { throw exactly.error(problem: "stands beside a minimum or maximum", fix: "Keep one of them.") }
            return .exactly(try exactly.integer(in: range))
        }
        guard minimum != nil || maximum != nil else { throw value.error(problem: "has no limit", fix: "Add \"minimum: 1\", \"maximum: 0\" or \"exactly: 3\".") }
        if let minimum, let maximum, minimum > maximum { throw value.error(problem: "has a minimum greater than its maximum", fix: "Swap them.") }
        return Bounds(minimum: minimum, maximum: maximum)
    }

    /// A drop reason by its words ("no socket") or its name ("noSocket").
    private static func reason(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.scalarText()
        if let known = DropReason.allCases.first(where: { $0.words == text || String(describing: $0) == text }) { return known.words }
        let words = DropReason.allCases.map(\.words)
        throw value.error(
            problem: "is not a drop reason",
            fix: nearestWord(to: text, among: words).map { "Did you mean \"\($0)\"?" } ?? "The reasons are \(words.joined(separator: ", ")).")
    }
}
