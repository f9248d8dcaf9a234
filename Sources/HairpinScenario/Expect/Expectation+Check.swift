import HairpinCapture
import HairpinEngine

/// What happened, as far as expectations look at it.
struct Evidence {
    var steps: [StepResult]
    var books: BooksResult
    /// Frames counted for each `.frames` expectation, in the order of `Scenario.expectations`.
    var frameCounts: [Int]
    /// The captured interfaces and how many frames the capture has of each.
    var recorded: [(interface: CaptureInterface, frames: UInt64)]
    /// Of the combined capture; nil when none was written.
    var captureSHA256: String?
}

extension Scenario {
    /// Every condition on its own line, in the order of the file.
    func check(_ evidence: Evidence) -> [ExpectationResult] {
        var results: [ExpectationResult] = []
        var nextCount = 0
        for expectation in expectations {
            func report(_ words: String, _ found: String?, subject: String = "") {
                results.append(
                    ExpectationResult(
                        expectation: subject + words, passed: found == nil, found: found, at: expectation.position.description, subject: subject))
            }
            switch expectation.subject {
            case .step(let id, let conditions):
                for condition in conditions {
                    guard let step = evidence.steps.first(where: { $0.id == id }) else {
                        report(condition.words, "the run ended before the step", subject: "\(id): ")
                        continue
                    }
                    report(condition.words, condition.mismatch(step), subject: "\(id): ")
                }
            case .drops(let reason, let bounds):
                let count = evidence.books.drops(of: reason)
                let others = reason == nil ? evidence.books.drops.map { "\($0.reason) × \($0.count)" }.joined(separator: ", ") : ""
                let found = "\(count) dropped" + (others.isEmpty ? "" : " (\(others))")
                report("\(bounds.words) \(bounds.plural("frame")) dropped" + (reason.map { " (\($0))" } ?? ""), bounds.admits(Int(clamping: count)) ? nil : found)
            case .policyDrops(let policy, let bounds):
                let count = evidence.books.drops(byPolicy: policy)
                report("\(bounds.words) \(bounds.plural("frame")) dropped (network policy \(policy))", bounds.admits(Int(clamping: count)) ? nil : "\(count) dropped")
            case .frames(let interface, let filter, let bounds):
                let count = evidence.frameCounts[nextCount]
                nextCount += 1
                let what = bounds.plural("frame") + (filter.isEmpty ? "" : " of \(quoted(filter))")
                report("\(bounds.words) \(what) on \(interface)", bounds.admits(count) ? nil : "\(count) seen")
            case .captures(let conditions):
                for condition in conditions { report(condition.words, condition.mismatch(evidence)) }
            }
        }
        return results
    }
}

extension StepCondition {
    var words: String {
        switch self {
        case .exit(let status): "exit status \(status)"
        case .output(let stream, let condition): condition.words(stream.rawValue)
        case .duration(let minimum?, let maximum?): "takes \(Quantity.words(minimum)) to \(Quantity.words(maximum))"
        case .duration(let minimum?, nil): "takes at least \(Quantity.words(minimum))"
        case .duration(nil, let maximum?): "takes at most \(Quantity.words(maximum))"
        case .duration(nil, nil): "takes any time"
        case .requests(let what, let bounds): "\(bounds.words) \(bounds.plural("request")) \(what)"
        }
    }

    func mismatch(_ step: StepResult) -> String? {
        if let problem = step.problem { return problem }
        switch self {
        case .exit(let status):
            if step.exit == status { return nil }
            let reason = step.timedOut ? " (ended after \(Quantity.words(step.duration)))" : ""
            return "it is \(step.exit)\(reason)" + (step.stderr.isEmpty ? "" : ", stderr \(quoted(step.stderr))")
        case .output(let stream, let condition):
            return condition.mismatch(stream == .stdout ? step.stdout : step.stderr)
        case .requests(let what, let bounds):
            guard let requests = step.requests else { return "the step sends no requests" }
            let count = what == "sent" ? requests.sent : what == "answered" ? requests.answered : what == "lost" ? requests.lost : requests.count(what)
            return bounds.admits(count) ? nil : "\(count) \(what)"
        case .duration(let minimum, let maximum):
            let fits = (minimum.map { step.duration >= $0 } ?? true) && (maximum.map { step.duration <= $0 } ?? true)
            return fits ? nil : "it took \(Quantity.words(step.duration))"
        }
    }
}

extension CaptureCondition {
    var words: String {
        switch self {
        case .interface(let pattern): "the capture has frames of \(pattern)"
        case .frames(let bounds): "the capture has \(bounds.words) \(bounds.plural("frame"))"
        case .sha256(let digest): "the capture's SHA-256 is \(digest)"
        }
    }

    func mismatch(_ evidence: Evidence) -> String? {
        switch self {
        case .interface(let pattern):
            let frames = evidence.recorded.reduce(UInt64(0)) { $0 + (InterfacePattern(pattern).matches($1.interface) ? $1.frames : 0) }
            return frames > 0 ? nil : "it has none"
        case .frames(let bounds):
            let frames = evidence.recorded.reduce(UInt64(0)) { $0 + $1.frames }
            return bounds.admits(Int(clamping: frames)) ? nil : "it has \(frames)"
        case .sha256(let digest):
            guard let found = evidence.captureSHA256 else { return "no capture was made" }
            return found == digest.lowercased() ? nil : "it is \(found)"
        }
    }
}
