import Foundation
import HairpinCluster
import HairpinHost
import Logging

/// `hairpin validate`: everything a run would refuse, without running.
public enum Validation {
    public struct Check: Sendable {
        /// "scenario pod-to-pod: 8 steps, 11 expectations, 4 pods, 1 Service".
        public var summary: String
        public var warnings: [String]
    }

    public static func check(_ file: String, from source: FileSource = FileSource()) throws(Failure) -> Check {
        if file != "-", !FileManager.default.fileExists(atPath: file), !BuiltinScenario.all.contains(where: { $0.name == file }) {
            throw Failure(.notFound, "\(file): no such file, and no built-in scenario of that name")
        }
        let loaded = try ScenarioFile.cluster(manifests: [file], keepsStory: true, from: source)
        var log = Logger(label: "hairpin.validate")
        log.logLevel = .critical
        let world = try World(loaded, seed: loaded.scenario.seed, log: log)
        let cluster = world.summary
        func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
        let objects = "\(count(cluster.pods, "pod")), \(count(cluster.services, "Service"))"
        guard loaded.hasScenario else { return Check(summary: objects, warnings: world.warnings) }
        for step in loaded.scenario.steps {
            if step.change != nil { continue }
            if let requests = step.requests {
                do { try world.checkRequests(requests, namespace: step.place.namespace) } catch { throw Failure(.input, "\(step.position): \(step.id): \(error)") }
            }
            do { _ = try world.resolve(step.place, container: step.container, ahead: true) } catch { throw Failure(.input, "\(step.position): \(step.id): \(error)") }
        }
        _ = try FaultPlan(loaded.scenario, in: world)
        try CaptureSet.checkFilters(loaded.scenario)
        let scenario = loaded.scenario
        return Check(
            summary: "scenario \(scenario.name): \(count(scenario.steps.count, "step")), \(count(scenario.expectations.count, "expectation")), \(objects)",
            warnings: world.warnings)
    }
}
