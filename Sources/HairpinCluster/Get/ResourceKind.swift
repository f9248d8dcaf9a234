/// What `kubectl get` can be asked for.
public enum ResourceKind: String, Sendable, CaseIterable {
    case pods, services
    case endpointSlices = "endpointslices"
    case endpoints, nodes, namespaces, deployments
    case replicaSets = "replicasets"
    case statefulSets = "statefulsets"
    case daemonSets = "daemonsets"
    case jobs
    case cronJobs = "cronjobs"
    case replicationControllers = "replicationcontrollers"
    case configMaps = "configmaps"
    case secrets
    case networkPolicies = "networkpolicies"
    case adminNetworkPolicies = "adminnetworkpolicies"
    case baselineAdminNetworkPolicies = "baselineadminnetworkpolicies"
    case serviceAccounts = "serviceaccounts"

    /// Accepts kubectl's plural, singular, short and qualified names ("deployments.apps"), in any case.
    public init?(argument: String) {
        let word = argument.lowercased().split(separator: ".", maxSplits: 1).first.map(String.init) ?? ""
        guard let kind = Self.allCases.first(where: { $0.rawValue == word || $0.singular == word || $0.shortNames.contains(word) }) else { return nil }
        self = kind
    }
    public var singular: String {
        switch self {
        case .networkPolicies: "networkpolicy"
        case .adminNetworkPolicies: "adminnetworkpolicy"
        case .baselineAdminNetworkPolicies: "baselineadminnetworkpolicy"
        case .endpoints: "endpoints"
        default: String(rawValue.dropLast())
        }
    }
    public var shortNames: [String] {
        switch self {
        case .pods: ["po"]
        case .services: ["svc"]
        case .endpoints: ["ep"]
        case .nodes: ["no"]
        case .namespaces: ["ns"]
        case .deployments: ["deploy"]
        case .replicaSets: ["rs"]
        case .statefulSets: ["sts"]
        case .daemonSets: ["ds"]
        case .cronJobs: ["cj"]
        case .replicationControllers: ["rc"]
        case .configMaps: ["cm"]
        case .networkPolicies: ["netpol"]
        case .adminNetworkPolicies: ["anp"]
        case .baselineAdminNetworkPolicies: ["banp"]
        case .serviceAccounts: ["sa"]
        case .endpointSlices, .jobs, .secrets: []
        }
    }
    /// The kind as manifests write it.
    public var kind: String {
        switch self {
        case .pods: "Pod"
        case .services: "Service"
        case .endpointSlices: "EndpointSlice"
        case .endpoints: "Endpoints"
        case .nodes: "Node"
        case .namespaces: "Namespace"
        case .deployments: "Deployment"
        case .replicaSets: "ReplicaSet"
        case .statefulSets: "StatefulSet"
        case .daemonSets: "DaemonSet"
        case .jobs: "Job"
        case .cronJobs: "CronJob"
        case .replicationControllers: "ReplicationController"
        case .configMaps: "ConfigMap"
        case .secrets: "Secret"
        case .networkPolicies: "NetworkPolicy"
        case .adminNetworkPolicies: "AdminNetworkPolicy"
        case .baselineAdminNetworkPolicies: "BaselineAdminNetworkPolicy"
        case .serviceAccounts: "ServiceAccount"
        }
    }
    public var apiVersion: String {
        switch self {
        case .deployments, .replicaSets, .statefulSets, .daemonSets: "apps/v1"
        case .jobs, .cronJobs: "batch/v1"
        case .endpointSlices: "discovery.k8s.io/v1"
        case .networkPolicies: "networking.k8s.io/v1"
        case .adminNetworkPolicies, .baselineAdminNetworkPolicies: AdminNetworkPolicy.apiVersion
        default: "v1"
        }
    }
    /// "deployment.apps": how `-o name` and `get all` write the resource.
    public var qualifiedName: String {
        let group = apiVersion.split(separator: "/").dropLast().first.map { "." + $0 } ?? ""
        return singular + group
    }
    public var isNamespaced: Bool {
        switch self {
        case .nodes, .namespaces, .adminNetworkPolicies, .baselineAdminNetworkPolicies: false
        default: true
        }
    }
    static func adminPolicies(isBaseline: Bool) -> ResourceKind { isBaseline ? .baselineAdminNetworkPolicies : .adminNetworkPolicies }
    var workloadKind: Workload.Kind? { Workload.Kind(rawValue: kind) }
}
