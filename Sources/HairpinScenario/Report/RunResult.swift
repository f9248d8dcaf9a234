import Foundation
import HairpinEngine

/// What a run leaves behind, as `--output json` prints it (`apiVersion: hairpin.sim/v1`, `kind: RunResult`). Everything in it is virtual:
/// the same scenario and seed give the same document.
public struct RunResult: Codable, Sendable {
    public enum Status: String, Codable, Sendable {
        case passed, failed
        /// The input was not accepted; `error` says why.
        case broken
        case interrupted
    }
    public var apiVersion = "hairpin.sim/v1"
    public var kind = "RunResult"
    public var scenario: String
    public var file: String
    public var seed: UInt64
    public var status: Status
    public var error: String?
    public var warnings: [String] = []
    public var cluster: ClusterResult?
    public var steps: [StepResult] = []
    public var expectations: [ExpectationResult] = []
    public var books: BooksResult?
    public var captures: [CaptureFileResult] = []
    /// Virtual nanoseconds from boot to the end.
    public var virtualNanoseconds: UInt64 = 0

    public init(scenario: String, file: String, seed: UInt64, status: Status) {
        self.scenario = scenario
        self.file = file
        self.seed = seed
        self.status = status
    }
}

/// The cluster in one line.
public struct ClusterResult: Codable, Sendable {
    public var nodes: Int
    public var pods: Int
    public var readyPods: Int
    public var services: Int
    public var cni: String
    public var proxyMode: String
}

public struct StepResult: Codable, Sendable {
    public var id: String
    /// The pod, "node/NAME" or "host/NAME" the command ran in.
    public var place: String
    public var container: String?
    public var command: String
    public var startedNanoseconds: UInt64
    public var endedNanoseconds: UInt64
    public var exit: Int32
    public var stdout: String
    public var stderr: String
    public var timedOut = false
    /// Why the step did not run at all.
    public var problem: String?
    /// Of clients that send requests.
    public var requests: RequestsResult?

    public var duration: Duration { Instant(nanoseconds: endedNanoseconds) - Instant(nanoseconds: startedNanoseconds) }
}

public struct ExpectationResult: Codable, Sendable {
    public var expectation: String
    public var passed: Bool
    /// What was found instead.
    public var found: String?
    /// FILE:LINE of the expectation.
    public var at: String
    /// The step's id and a colon, where the expectation is about a step.
    var subject = ""
    var condition: String { String(expectation.dropFirst(subject.count)) }

    private enum CodingKeys: String, CodingKey { case expectation, passed, found, at }
}

/// `FrameBooks` over all nodes.
public struct BooksResult: Codable, Sendable {
    public var emitted: UInt64 = 0
    public var copied: UInt64 = 0
    public var delivered: UInt64 = 0
    public var dropped: UInt64 = 0
    public var handedOver: UInt64 = 0
    public var inFlight: UInt64 = 0
    /// Only reasons that occurred, in the order of the data path.
    public var drops: [DropResult] = []
    /// Those of network policies again, by the policies that isolate the pod and allow the packet by no rule.
    public var policyDrops: [PolicyDropResult] = []
    public var balanced = true

    /// Drops that a policy, "namespace/name", has part in.
    public func drops(byPolicy policy: String) -> UInt64 {
        // An administrator's policy stands there with the rule that refused: "anp/quarantine ingress[0]".
        policyDrops.filter { $0.policies.split(separator: ", ").contains { $0 == policy || $0.hasPrefix(policy + " ") } }.reduce(0) { $0 + $1.count }
    }

    /// Drops of one reason, by its words ("no socket"), or all of them.
    public func drops(of reason: String?) -> UInt64 {
        guard let reason else { return dropped }
        return drops.first { $0.reason == reason }?.count ?? 0
    }
}

public struct DropResult: Codable, Sendable {
    public var reason: String
    public var count: UInt64
}

public struct PolicyDropResult: Codable, Sendable {
    /// "egress" or "ingress".
    public var direction: String
    /// "namespace/name", joined by ", ".
    public var policies: String
    public var pod: String
    public var count: UInt64
}

public struct CaptureFileResult: Codable, Sendable {
    public var path: String
    public var sha256: String?
    public var frames: UInt64
}

extension RunResult {
    /// Pretty JSON with stable key order. One result stands alone; several become a list, as kubectl does it.
    public static func json(_ results: [RunResult]) throws -> String {
        struct List: Codable {
            var apiVersion = "hairpin.sim/v1"
            var kind = "RunResultList"
            var items: [RunResult]
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let data = try results.count == 1 ? encoder.encode(results[0]) : encoder.encode(List(items: results))
        return String(decoding: data, as: UTF8.self)
    }
}
