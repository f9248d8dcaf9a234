import Foundation

/// How a candidate's captures compare with a reference's, interface by interface.
public struct ComparisonReport: Sendable {
    public struct Row: Sendable, Equatable {
        public var interface: String
        /// Lines; nil if that side has no such interface.
        public var reference: Int?
        public var candidate: Int?
        public var isIdentical: Bool
        /// 1 - edit distance / longer length.
        public var similarity: Double
        /// Index of the recorded run that this row compares with.
        public var run: Int
    }
    public var level: ComparisonLevel
    public var rows: [Row]
    /// Where an interface first differs: context with " ", the reference's lines with "-", the candidate's with "+".
    public var differences: [(interface: String, lines: [String])]
    /// With `compareTiming`, of the first run.
    public var timing: TimingReport?

    /// Interfaces that are silent on both sides say nothing, so they do not count.
    private var counted: [Row] { rows.filter { ($0.reference ?? 0) != 0 || ($0.candidate ?? 0) != 0 || $0.reference != $0.candidate } }
    /// Fraction of interfaces whose lines are identical.
    public var identical: Double {
        let counted = self.counted
        return counted.isEmpty ? 1 : Double(counted.count(where: \.isIdentical)) / Double(counted.count)
    }
    /// Mean similarity of interfaces, weighted by the number of lines.
    public var similarity: Double {
        let weighted = counted.map { (weight: Double(max($0.reference ?? 0, $0.candidate ?? 0, 1)), similarity: $0.similarity) }
        let total = weighted.reduce(0) { $0 + $1.weight }
        return total == 0 ? 1 : weighted.reduce(0) { $0 + $1.weight * $1.similarity } / total
    }
    public var isIdentical: Bool { rows.allSatisfy(\.isIdentical) }
}

/// How the gaps between packets compare; lines that both sides have are aligned first.
public struct TimingReport: Sendable, Equatable {
    /// Gaps may differ by 20 ms or a tenth, whichever is more: recorded timers are late by up to a tick, a simulation's are not.
    static let toleratedSeconds = 0.020, toleratedFraction = 0.10
    /// Fraction of the gaps that agree.
    public var agreeing: Double
    public var worstSeconds: Double
    public var worstInterface: String
    public var worstPacket: String
}

/// Compares a candidate with the best of several recorded runs, which may be another one for every interface.
///
/// `differenceLines` limits what is shown of every interface that differs.
public func compare(
    references: [CanonicalCapture], candidate: CanonicalCapture, level: ComparisonLevel, differenceLines: Int = 12, compareTiming: Bool = false
) -> ComparisonReport {
    let produced = candidate.render(level)
    var rows: [ComparisonReport.Row] = []
    var known: [String: Int] = [:]
    let rendered = references.map { $0.render(level) }
    for (run, reference) in rendered.enumerated() {
        for interface in Set(reference.keys).union(produced.keys).sorted() {
            let a = reference[interface]
            let b = produced[interface]
            var similar = 0.0
            if let a, let b { similar = a == b ? 1 : similarity(a, b) }
            let row = ComparisonReport.Row(interface: interface, reference: a?.count, candidate: b?.count, isIdentical: a == b, similarity: similar, run: run)
            if let position = known[interface] {
                if row.similarity > rows[position].similarity { rows[position] = row }
            } else {
                known[interface] = rows.count
                rows.append(row)
            }
        }
    }
    let differences = rows.filter { !$0.isIdentical }.map { row in
        (interface: row.interface, lines: firstDifference(rendered[row.run][row.interface] ?? [], produced[row.interface] ?? [], limit: differenceLines))
    }
    var report = ComparisonReport(level: level, rows: rows, differences: differences)
    if compareTiming, level != .flow, let reference = references.first { report.timing = timing(reference, candidate, level) }
    return report
}

/// Compares folders of captures. With `anyRun` the recorded runs in `runs/` count too. A candidate folder without a `scenario.json` uses
/// the reference's names. Throws `CaptureError` and `ComparisonError`.
public func compare(
    reference: URL, candidate: URL, level: ComparisonLevel, anyRun: Bool = false, differenceLines: Int = 12, compareTiming: Bool = false
) throws -> ComparisonReport {
    let own = candidate.appendingPathComponent("scenario.json")
    let names = FileManager.default.fileExists(atPath: own.path) ? own : CaptureDescription.find(near: reference)
    let capture = try CanonicalCapture(folder: candidate, description: names.map { try CaptureDescription(contentsOf: $0) })
    return try compare(reference: reference, candidate: capture, level: level, anyRun: anyRun, differenceLines: differenceLines, compareTiming: compareTiming)
}

/// Compares captures in memory with a folder. Throws `CaptureError` and `ComparisonError`.
public func compare(
    reference: URL, candidate: CanonicalCapture, level: ComparisonLevel, anyRun: Bool = false, differenceLines: Int = 12, compareTiming: Bool = false
) throws -> ComparisonReport {
    let folders = anyRun ? recordedRuns(of: reference) : [reference]
    return compare(
        references: try folders.map { try CanonicalCapture(folder: $0) }, candidate: candidate, level: level, differenceLines: differenceLines,
        compareTiming: compareTiming)
}

/// The reference run and the other recorded ones.
func recordedRuns(of folder: URL) -> [URL] {
    let runs = folder.appendingPathComponent("runs")
    let others = (try? FileManager.default.contentsOfDirectory(at: runs, includingPropertiesForKeys: [.isDirectoryKey])) ?? []
    return [folder] + others.filter { (try? $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory) ?? false }.sorted { $0.lastPathComponent < $1.lastPathComponent }
}

/// Up to about `limit` lines from the first difference on, with one line of context before it. Long runs of lines that one side lacks are
/// cut, so that both sides are seen.
func firstDifference(_ a: [String], _ b: [String], limit: Int) -> [String] {
    guard limit > 0 else { return [] }
    var common = 0
    while common < min(a.count, b.count), a[common] == b[common] { common += 1 }
    // Far from the difference the alignment does not matter; it costs too much for captures of thousands of lines.
    let window = 40 + 2 * limit
    let longest = max(limit / 2, 1)
    let left = Array(a[common...].prefix(window))
    let right = Array(b[common...].prefix(window))
    func run(_ lines: ArraySlice<String>, behind: Int, _ sign: String) -> [String] {
        let more = max(lines.count - longest, 0) + behind
        return lines.prefix(longest).map { sign + $0 } + (more > 0 ? [sign + "… \(more) more"] : [])
    }
    var result = common > 0 ? [" " + a[common - 1]] : []
    var i = 0
    var j = 0
    for (k, l) in matchingPairs(left, right) + [(left.count, right.count)] {
        let isLast = k == left.count && l == right.count
        result += run(left[i..<k], behind: isLast ? a.count - common - k : 0, "-") + run(right[j..<l], behind: isLast ? b.count - common - l : 0, "+")
        if result.count >= limit { break }
        if k < left.count { result.append(" " + left[k]) }
        (i, j) = (k + 1, l + 1)
    }
    return result
}

/// Aligns the packets of both sides and compares the gaps between neighbours in the alignment.
private func timing(_ reference: CanonicalCapture, _ candidate: CanonicalCapture, _ level: ComparisonLevel) -> TimingReport {
    let a = reference.rendered(level)
    let b = candidate.rendered(level)
    var good = 0
    var total = 0
    var worst = (seconds: 0.0, interface: "", packet: "")
    for interface in Set(a.keys).intersection(b.keys).sorted() {
        guard let left = a[interface], let right = b[interface] else { continue }
        let pairs = matchingPairs(left.map(\.line), right.map(\.line))
        for (first, second) in zip(pairs, pairs.dropFirst()) {
            func gap(_ lines: [(line: String, time: UInt64)], _ from: Int, _ to: Int) -> Double { Double(Int64(bitPattern: lines[to].time &- lines[from].time)) / 1e9 }
            let gapA = gap(left, first.0, second.0)
            let gapB = gap(right, first.1, second.1)
            let error = abs(gapA - gapB)
            total += 1
            if error <= max(TimingReport.toleratedSeconds, TimingReport.toleratedFraction * max(gapA, gapB)) { good += 1 }
            let packet = left[second.0].line
            if (error, interface, packet) > worst { worst = (error, interface, packet) }
        }
    }
    return TimingReport(agreeing: total == 0 ? 1 : Double(good) / Double(total), worstSeconds: worst.seconds, worstInterface: worst.interface, worstPacket: worst.packet)
}
