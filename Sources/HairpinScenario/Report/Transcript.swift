import HairpinEngine

/// What a run looks like to people: prompts with commands and their output, then what was expected, then the sums. Depends on nothing but
/// the run, so two runs of one seed print the same text.
struct Transcript {
    var style: TextStyle

    init(style: TextStyle) { self.style = style }

    func heading(_ scenario: Scenario, _ cluster: ClusterResult) -> String {
        let nodes = count(cluster.nodes, "node")
        let pods = count(cluster.pods, "pod")
        let services = count(cluster.services, "Service")
        let title = style.bold(scenario.name) + (scenario.summary.isEmpty ? "" : ": \(scenario.summary)")
        return "\(title)\n\(style.dim("\(nodes), \(pods), \(services) · \(cluster.cni) · \(cluster.proxyMode) · seed \(scenario.seed)"))\n"
    }

    /// `prompt` is where the command ran, as a shell there would show it.
    func step(_ step: StepResult, prompt: String, screen: [(text: String, isError: Bool)]) -> String {
        let lines = step.command.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var text = "\n\(style.prompt(prompt)) \(style.dim("$")) \(style.bold(lines[0]))\n"
        for line in lines.dropFirst() where !line.isEmpty { text += "\(style.dim(">")) \(style.bold(line))\n" }
        for piece in screen { text += piece.isError ? style.plainError(piece.text) : piece.text }
        if let last = screen.last, !last.text.hasSuffix("\n") { text += "\n" }
        if let problem = step.problem {
            text += style.bad("[\(problem)]") + "\n"
        } else if step.timedOut {
            text += style.bad("[ended after \(Quantity.words(step.duration))]") + "\n"
        } else if step.exit != 0 {
            text += style.dim("[exit \(step.exit)]") + "\n"
        }
        return text
    }

    /// How clients fared, with every loss up to a number of them; the JSON result has all.
    func requests(_ result: RequestsResult) -> String {
        var text = "\(count(result.sent, "request")): \(grouped(UInt64(result.answered))) answered, \(grouped(UInt64(result.lost))) lost\n"
        if let latency = result.latency {
            func words(_ nanoseconds: Int64) -> String { Quantity.words(.microseconds(nanoseconds / 1000)) }
            text += "answered within \(words(latency.minimum)) to \(words(latency.maximum)), median \(words(latency.median)), 99 % \(words(latency.percentile99))\n"
        }
        for cause in RequestsResult.causes where result.count(cause) > 0 { text += "  \(grouped(UInt64(result.count(cause)))) × \(cause)\n" }
        for loss in result.losses.prefix(Transcript.lossLimit) {
            let at = Instant(nanoseconds: loss.startedNanoseconds / 1_000_000 * 1_000_000)
            text += "  #\(loss.number) at \(Quantity.words(at - .zero)) \(loss.cause)\(loss.endpoint.map { " (\($0))" } ?? ""): \(loss.reason)\n"
        }
        if result.lost > Transcript.lossLimit { text += "  … and \(count(result.lost - Transcript.lossLimit, "more"))\n" }
        return text
    }
    private static let lossLimit = 20

    /// What held, a line for each entry of the scenario; what did not, on lines of its own.
    func expectations(_ results: [ExpectationResult]) -> String {
        var text = ""
        var held: (at: String, subject: String, words: [String])?
        func flush() {
            guard let done = held else { return }
            text += "\(style.good("ok")) \(done.subject)\(done.words.joined(separator: ", "))\n"
            held = nil
        }
        for result in results {
            guard result.passed else {
                flush()
                text += "\(style.bad("FAILED")) \(result.subject)\(result.condition) (\(result.at))\n       \(result.found ?? "does not hold")\n"
                continue
            }
            if held?.at != result.at || held?.subject != result.subject || result.subject.isEmpty { flush() }
            if held == nil { held = (result.at, result.subject, []) }
            held?.words.append(result.condition)
        }
        flush()
        return text.isEmpty ? "" : "\n" + text
    }

    func summary(_ result: RunResult) -> String {
        var text = "\n"
        if let books = result.books {
            text += "\(grouped(books.emitted + books.copied)) frames: \(grouped(books.delivered)) delivered, \(grouped(books.dropped)) dropped"
            if books.handedOver > 0 { text += ", \(grouped(books.handedOver)) handed over between nodes" }
            text += ", \(grouped(books.inFlight)) in flight; the books \(books.balanced ? "balance" : "do NOT balance")\n"
            for drop in books.drops { text += "  \(grouped(drop.count)) × \(drop.reason)\n" }
            for drop in books.policyDrops { text += "    \(grouped(drop.count)) × \(drop.direction) of \(drop.pod) by \(drop.policies)\n" }
        }
        for capture in result.captures { text += "wrote \(capture.path) (\(count(Int(clamping: capture.frames), "packet")))\n" }
        let failed = result.expectations.filter { !$0.passed }.count
        let total = result.expectations.count
        switch result.status {
        case .interrupted: text += style.bad("interrupted") + "\n"
        case .broken: text += style.bad("broken") + "\n"
        case .failed where failed == 0: text += style.bad("a step could not run") + "\n"
        case .failed: text += style.bad("\(failed) of \(count(total, "expectation")) failed") + "\n"
        case .passed: text += total == 0 ? style.good("done") + "\n" : style.good("\(count(total, "expectation")) held") + "\n"
        }
        return text
    }

    private func count(_ number: Int, _ noun: String) -> String { "\(grouped(UInt64(number))) \(noun)\(number == 1 ? "" : "s")" }
}

/// Colours of a terminal, or none.
public struct TextStyle: Sendable {
    public var isColoured: Bool
    public init(isColoured: Bool = false) { self.isColoured = isColoured }

    private func sgr(_ code: String, _ text: String) -> String { isColoured && !text.isEmpty ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text }
    func bold(_ text: String) -> String { sgr("1", text) }
    func dim(_ text: String) -> String { sgr("2", text) }
    func prompt(_ text: String) -> String { sgr("36", text) }
    func good(_ text: String) -> String { sgr("32", text) }
    func bad(_ text: String) -> String { sgr("1;31", text) }
    func plainError(_ text: String) -> String { sgr("33", text) }
}

/// 12345 as "12 345".
func grouped(_ number: UInt64) -> String {
    let digits = Array(String(number))
    var text = ""
    for (place, digit) in digits.enumerated() {
        if place > 0, (digits.count - place).isMultiple(of: 3) { text.append(" ") }
        text.append(digit)
    }
    return text
}
