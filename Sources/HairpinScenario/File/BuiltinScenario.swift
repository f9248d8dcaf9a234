import Foundation
import HairpinCluster

/// A scenario that comes with the program: a folder of resources with `scenario.yaml` and its manifests.
public struct BuiltinScenario: Sendable {
    public var name: String
    /// Of its scenario.yaml.
    public var path: String

    /// In the order in which a learner meets them.
    public static var all: [BuiltinScenario] {
        guard let folder = folder else { return [] }
        return names.map { BuiltinScenario(name: $0, path: "\(folder)/\($0)/scenario.yaml") }.filter { FileManager.default.fileExists(atPath: $0.path) }
    }

    /// `spec.summary`.
    public var summary: String { (try? ScenarioFile.load(path))?.scenario.summary ?? "" }

    /// The text of its files, scenario first, as people would keep them.
    public var text: String {
        let folder = (path as NSString).deletingLastPathComponent
        let others = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0 != "scenario.yaml" }.sorted()
        return (["scenario.yaml"] + others).map { name in
            let text = FileManager.default.contents(atPath: "\(folder)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
            return "# --- \(self.name)/\(name)\n\(text)"
        }.joined(separator: "\n")
    }

    private static let names = ["container-to-container", "pod-to-pod", "pod-to-service", "pod-to-service-iptables", "network-policy", "rolling-update"]

    /// Beside the executable, as the package manager and `make install` put it.
    static var folder: String? {
        let executable = Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent()
        let candidates = [executable, Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent()].compactMap { $0 }
        return candidates.map { $0.appendingPathComponent("hairpin_HairpinScenario.resources/Builtin").path }.first { FileManager.default.fileExists(atPath: $0) }
    }
}

public enum HairpinVersion {
    public static let current = "0.1.0"
}
