import Foundation
import HairpinCluster
import HairpinHost

/// Runs NetworkPolicy cases: builds the cluster a case describes, changes it as the case says, and after each step lets every pod speak to every other
/// with real frames, straight to its address and through its Service. Both must agree with the case, and with the compiled policies.
public struct PolicyRunner: Sendable {
    public enum Status: String, Sendable, Codable { case passed, failed, unsupported }

    public struct Case: Sendable {
        public var id: String
        public var status: Status
        /// Matrices, row by row; of a failed case those of the first step that differs.
        public var expected: String
        public var actual: String
        /// Why it failed or is unsupported, in one line.
        public var reason: String
        public var isBalanced: Bool
        /// Frames that crossed the cluster.
        public var frames: UInt64
    }

    public var seed: UInt64 = 1
    public var proxyMode = ClusterConfiguration.ProxyMode.iptables
    public init() {}

    /// The cases of a file or of the `.json` and `.yaml` files of a folder, with functions that run them.
    public func cases(at path: String) throws(InputError) -> [(id: String, run: @Sendable () -> Case)] {
        var result: [(id: String, run: @Sendable () -> Case)] = []
        for file in try PolicyRunner.files(path) {
            guard let document = try YAMLReader.documents(path: file).first else {
                throw InputError(file: file, problem: "is empty", fix: "Name a file of NetworkPolicy cases.")
            }
            let body = try PolicyCaseFile(document)
            for value in body.cases {
                let id = try value.require("id").string()
                result.append((id, { [self] in outcome(of: value, id: id, in: body) }))
            }
        }
        return result
    }

    private static func files(_ path: String) throws(InputError) -> [String] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else { return [path] }
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted().filter { $0.hasSuffix(".json") || $0.hasSuffix(".yaml") }
        // A folder may hold other bodies of cases beside these.
        let files = names.map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }.filter { file in
            guard let document = try? YAMLReader.documents(path: file).first else { return false }
            return document["model"]?["pods"] != nil && document["cases"] != nil
        }
        guard !files.isEmpty else {
            throw InputError(kind: .unreadable, file: path, problem: "is a folder without files of NetworkPolicy cases", fix: "Name the file, or the folder it is in.")
        }
        return files
    }

    private func outcome(of value: YAMLValue, id: String, in file: PolicyCaseFile) -> Case {
        var result = Case(id: id, status: .unsupported, expected: "", actual: "", reason: "", isBalanced: true, frames: 0)
        do {
            let policyCase = try PolicyCase(value, in: file)
            let cluster = try PolicyCluster(file, policyCase, seed: seed, proxyMode: proxyMode)
            result.status = .passed
            var matrices: [String] = []
            for (number, step) in policyCase.steps.enumerated() {
                for change in step.changes { try cluster.apply(change) }
                cluster.enforce()
                let seen = cluster.probe(step.probe)
                let expected = step.matrix.joined(separator: " ")
                matrices.append(expected)
                guard let difference = seen.difference(from: step.matrix, ignoringLoopback: file.ignoresLoopback, order: file.order) else { continue }
                result.status = .failed
                result.reason = "step \(number + 1), \(step.probe.proto.rawValue) \(step.probe.port): \(difference)"
                result.expected = expected
                result.actual = seen.direct.joined(separator: " ")
                break
            }
            if result.status == .passed {
                result.expected = matrices.joined(separator: " | ")
                result.actual = result.expected
            }
            let books = cluster.simulation.books
            result.frames = books.emitted + books.copied
            result.isBalanced = books.isBalanced
            if !books.isBalanced {
                result.status = .failed
                result.reason = "the books do not balance"
            }
        } catch let error as Unsupported {
            result.status = .unsupported
            result.reason = error.description
        } catch let error as TopologyError where error.isUnsupported {
            result.status = .unsupported
            result.reason = error.description
        } catch {
            result.status = .failed
            result.reason = "\(error)"
        }
        return result
    }
}

/// What probes found: rows by source, columns by destination.
struct ProbedMatrix {
    /// To the pod's address.
    var direct: [String]
    /// Through the pod's Service.
    var service: [String]
    /// What the compiled policies say.
    var compiled: [String]
    /// Answers from somebody else, in words.
    var strangers: [String]

    /// The first thing that is not as expected, in words; nil if everything is.
    func difference(from expected: [String], ignoringLoopback: Bool, order: [ObjectKey]) -> String? {
        if let stranger = strangers.first { return stranger }
        for (way, rows) in [("", direct), (" through its Service", service), (" by the compiled policies", compiled)] {
            for (source, (row, wanted)) in zip(rows, expected).enumerated() {
                for (destination, (letter, wish)) in zip(row, wanted).enumerated() where letter != wish && !(ignoringLoopback && source == destination) {
                    return "\(order[source]) \(letter == "." ? "reaches" : "does not reach") \(order[destination])\(way)"
                }
            }
        }
        return nil
    }
}
