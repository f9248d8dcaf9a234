import HairpinCluster

/// `hairpin reachability`: who may speak to whom in the cluster of some manifests, without booting it.
public struct ReachabilityView: Sendable {
    private let plan: ClusterPlan
    public let warnings: [String]
    /// The cluster's own pods and Services too.
    public var includesSystem = false

    public init(_ loaded: LoadedScenario) throws(Failure) {
        do { plan = try ClusterPlanner.plan(loaded.manifests, configuration: loaded.scenario.configuration) } catch { throw Failure(error) }
        var warnings = plan.warnings.map(\.description)
        if loaded.scenario.cluster.networkPolicy == .off, plan.hasPolicies {
            warnings.append("the scenario's network plugin has no NetworkPolicy (spec.cluster.networkPolicy: off); shown is what the policies say")
        }
        self.warnings = warnings
    }

    /// The protocol's name in any case; nil if it has no ports that policies know.
    public static func proto(_ text: String) -> PortProtocol? { PortProtocol(rawValue: text.uppercased()) }

    /// The ports containers declare, or those of Services.
    public func ports(_ proto: PortProtocol, ofServices: Bool) -> [UInt16] {
        guard ofServices else { return plan.declaredPorts(proto, includingSystem: includesSystem) }
        let services = plan.services.filter { includesSystem || !plan.isSystem($0) }
        return Set(services.flatMap(\.ports).filter { $0.proto == proto }.map(\.port)).sorted()
    }

    public func pods(_ proto: PortProtocol, port: UInt16) -> Reachability { plan.reachability(proto, port: port, includingSystem: includesSystem) }

    /// With every pod that has an address taken for ready.
    public func services(_ proto: PortProtocol, port: UInt16) -> Reachability {
        let slices = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
        return plan.serviceReachability(proto, port: port, endpoints: slices, includingSystem: includesSystem)
    }
}
