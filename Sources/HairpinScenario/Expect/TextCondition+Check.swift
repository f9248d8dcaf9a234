import Foundation

extension TextCondition {
    /// The condition as a sentence about `subject`, such as "stdout contains \"Welcome\"".
    func words(_ subject: String) -> String {
        switch self {
        case .contains(let text): "\(subject) contains \(quoted(text))"
        case .excludes(let text): "\(subject) does not contain \(quoted(text))"
        case .equals(let text): "\(subject) is \(quoted(text))"
        case .matches(let pattern): "\(subject) matches /\(pattern)/"
        case .lines(let bounds): "\(subject) has \(bounds.words) \(bounds.plural("line"))"
        case .distinctLines(let count): "\(subject) has \(count) different \(Bounds.exactly(count).plural("line"))"
        case .eachLine(let bounds): "\(subject) repeats every line \(bounds.words) \(bounds.plural("time"))"
        case .counts(let text, let bounds): "\(subject) has \(quoted(text)) \(bounds.words) \(bounds.plural("time"))"
        case .empty: "\(subject) is empty"
        }
    }

    /// Nil when `text` satisfies the condition, else what was found.
    func mismatch(_ text: String) -> String? {
        switch self {
        case .contains(let part): text.contains(part) ? nil : "it is \(quoted(text))"
        case .excludes(let part): text.contains(part) ? "it is \(quoted(text))" : nil
        case .equals(let whole): withoutFinalNewline(text) == withoutFinalNewline(whole) ? nil : "it is \(quoted(text))"
        case .matches(let pattern):
            text.range(of: "(?m)" + pattern, options: .regularExpression) != nil ? nil : "it is \(quoted(text))"
        case .lines(let bounds):
            bounds.admits(outputLines(text).count) ? nil : "it has \(outputLines(text).count)"
        case .distinctLines(let count):
            tally(text).count == count ? nil : "it has \(tally(text).count): \(listing(tally(text)))"
        case .eachLine(let bounds):
            tally(text).allSatisfy { bounds.admits($0.count) } && !tally(text).isEmpty ? nil : tally(text).isEmpty ? "it is empty" : "it has \(listing(tally(text)))"
        case .counts(let part, let bounds):
            bounds.admits(occurrences(of: part, in: text))
                ? nil : "it has it \(occurrences(of: part, in: text)) \(Bounds.exactly(occurrences(of: part, in: text)).plural("time"))"
        case .empty: text.isEmpty ? nil : "it is \(quoted(text))"
        }
    }

    /// Whether a pattern can be used with `.matches`.
    static func isValid(pattern: String) -> Bool { (try? NSRegularExpression(pattern: "(?m)" + pattern)) != nil }
}

/// The text in quotes, line breaks shown, cut in the middle when it is long.
func quoted(_ text: String) -> String {
    var shown = text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\n", with: "\\n").replacingOccurrences(of: "\t", with: "\\t")
        .replacingOccurrences(of: "\r", with: "\\r")
    if shown.count > 160 { shown = shown.prefix(100) + " … " + shown.suffix(50) }
    return "\"\(shown)\""
}

private func withoutFinalNewline(_ text: String) -> Substring { text.hasSuffix("\n") ? text.dropLast() : text[...] }

private func outputLines(_ text: String) -> [Substring] {
    let body = withoutFinalNewline(text)
    return body.isEmpty ? [] : body.split(separator: "\n", omittingEmptySubsequences: false)
}

/// Different lines with their counts, in the order of first appearance.
private func tally(_ text: String) -> [(line: Substring, count: Int)] {
    var result: [(line: Substring, count: Int)] = []
    var places: [Substring: Int] = [:]
    for line in outputLines(text) {
        if let place = places[line] {
            result[place].count += 1
        } else {
            places[line] = result.count
            result.append((line, 1))
        }
    }
    return result
}

private func listing(_ tally: [(line: Substring, count: Int)]) -> String {
    tally.prefix(8).map { "\(quoted(String($0.line))) × \($0.count)" }.joined(separator: ", ") + (tally.count > 8 ? ", …" : "")
}

private func occurrences(of part: String, in text: String) -> Int {
    guard !part.isEmpty else { return 0 }
    return text.components(separatedBy: part).count - 1
}
