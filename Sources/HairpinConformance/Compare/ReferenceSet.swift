import Foundation

/// A folder of recorded scenarios with the `stability.json` that says how repeatable the kernel itself is.
public struct ReferenceSet: Sendable {
    public struct Scenario: Sendable {
        public var name: String
        public var folder: URL
        /// The strictest level at which all recorded runs agree: the level the scenario is held to.
        public var compareAt: ComparisonLevel
        /// By level, the similarity that the kernel reaches against itself.
        public var ceilings: [ComparisonLevel: Double]
    }
    /// In the order of their names.
    public var scenarios: [Scenario]

    private struct Stability: Decodable {
        var compareAt: String
        var similarity: [String: Double]
        enum CodingKeys: String, CodingKey {
            case compareAt = "compare_at"
            case similarity
        }
    }

    /// Throws `ComparisonError.unreadable`.
    public init(folder: URL) throws {
        let file = folder.appendingPathComponent("stability.json")
        do {
            let known = try JSONDecoder().decode([String: Stability].self, from: Data(contentsOf: file))
            scenarios = try known.sorted { $0.key < $1.key }.map { name, stability in
                guard let level = ComparisonLevel(rawValue: stability.compareAt) else {
                    throw ComparisonError.unreadable(
                        file: file.path,
                        reason: "\(name): compare_at \"\(stability.compareAt)\" is not one of \(ComparisonLevel.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                let ceilings = stability.similarity.compactMap { key, value in ComparisonLevel(rawValue: key).map { ($0, value) } }
                return Scenario(name: name, folder: folder.appendingPathComponent(name), compareAt: level, ceilings: Dictionary(uniqueKeysWithValues: ceilings))
            }
        } catch let error as ComparisonError {
            throw error
        } catch {
            throw ComparisonError.unreadable(file: file.path, reason: describe(error))
        }
    }
}

extension ReferenceSet.Scenario {
    /// The result of one scenario.
    public struct Score: Sendable {
        public var report: ComparisonReport
        /// Fraction of interfaces that match some run of the kernel exactly.
        public var identical: Double
        /// Relative to what the kernel reaches against itself, at most 1.
        public var similarity: Double
        /// Every interface is identical to some run at the level that counts.
        public var passes: Bool { identical == 1 }
    }

    /// The names of the reference, for a candidate that has the same addresses.
    public func description() throws -> CaptureDescription {
        try CaptureDescription.find(near: folder).map { try CaptureDescription(contentsOf: $0) } ?? CaptureDescription()
    }

    /// Compares with the best recorded run at `level`, by default the one the scenario is held to.
    public func score(_ candidate: CanonicalCapture, level: ComparisonLevel? = nil, differenceLines: Int = 12, compareTiming: Bool = false) throws -> Score {
        let level = level ?? compareAt
        let report = try compare(reference: folder, candidate: candidate, level: level, anyRun: true, differenceLines: differenceLines, compareTiming: compareTiming)
        let ceiling = ceilings[level] ?? 1
        return Score(report: report, identical: report.identical, similarity: ceiling > 0 ? min(1, report.similarity / ceiling) : 1)
    }

    /// The same for a folder of captures; without a capture in it the score is zero.
    public func score(folder candidate: URL, level: ComparisonLevel? = nil, differenceLines: Int = 12, compareTiming: Bool = false) throws -> Score {
        guard let files = try? CanonicalCapture.captureFiles(in: candidate), !files.isEmpty else {
            let empty = ComparisonReport(level: level ?? compareAt, rows: [], differences: [], timing: nil)
            return Score(report: empty, identical: 0, similarity: 0)
        }
        let own = candidate.appendingPathComponent("scenario.json")
        let names = FileManager.default.fileExists(atPath: own.path) ? try CaptureDescription(contentsOf: own) : try description()
        return try score(try CanonicalCapture(folder: candidate, description: names), level: level, differenceLines: differenceLines, compareTiming: compareTiming)
    }
}
