import HairpinCluster
import HairpinEngine
import HairpinWire

/// A position in a file somebody wrote, for messages.
public struct Position: Hashable, Sendable, CustomStringConvertible {
    public var file: String
    public var line: Int?
    public init(file: String, line: Int? = nil) { (self.file, self.line) = (file, line) }
    public var description: String { line.map { "\(file):\($0)" } ?? file }
}

/// A `kind: Scenario` document, read and checked; names in it are not yet looked up in a cluster.
public struct Scenario: Sendable {
    public var name: String
    public var summary = ""
    /// The file it was read from; "pod-to-pod (built in)" for a resource of the program.
    public var origin: String
    public var seed: UInt64 = 1
    /// Virtual time at which the run ends at the latest; nil runs to the end of the last step.
    public var until: Instant?
    public var cluster = ClusterSettings()
    public var hosts: [OutsideHost] = []
    public var steps: [Step] = []
    public var faults: [Fault] = []
    public var expectations: [Expectation] = []
    public var capture = CaptureSettings()
    /// Nil: no trace of TCP connections beside the captures; `--tcp-probe` then traces all.
    public var tcpProbe: TCPProbeSettings?

    public init(name: String, origin: String) { (self.name, self.origin) = (name, origin) }
}

/// `spec.cluster`: the machines and the way their network is set up.
public struct ClusterSettings: Sendable {
    public var nodes: [NodeSettings] = [NodeSettings(name: "node1", address: IPv4Address(192, 168, 50, 11))]
    public var podCIDR = IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 16)
    public var serviceCIDR = IPv4Prefix(IPv4Address(10, 96, 0, 0), length: 12)
    /// The network set-ups that are modelled.
    public static let networks = ["bridge", "flannel-host-gw"]
    public var cni = "bridge"
    public var proxyMode = ProxyMode.iptables
    /// kube-proxy's `--ipvs-scheduler`, and those there are.
    public var ipvsScheduler = "rr"
    public static let ipvsSchedulers = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf"]
    public var networkPolicy = PolicyMode.drop
    public var dns = true
    /// resolv.conf of the nodes.
    public var resolver = ResolverFile()
    /// Of every node's uplink.
    public var nodeLink = LinkSettings()
    /// From a change of a pod to the EndpointSlice that tells of it, and from there to kube-proxy's rules.
    public var endpointsDelay = Duration.zero
    public var kubeProxyDelay = ScenarioTiming.ruleLag
    /// Processor time for every iptables rule that a packet is held against; nil finds rules by hashing in no time.
    public var linearRules: Duration?
    /// What `linearRules: true` means: 20 ns a rule, a millisecond for fifty thousand.
    public static let ruleCost = Duration.nanoseconds(20)
    public init() {}
}

public struct NodeSettings: Sendable, Equatable {
    public var name: String
    public var address: IPv4Address
    public var labels: [(name: String, value: String)] = []
    /// In place of what kube-proxy and the network plugin would write.
    public var rules: NodeRules?
    public init(name: String, address: IPv4Address) { (self.name, self.address) = (name, address) }
    public static func == (a: NodeSettings, b: NodeSettings) -> Bool {
        a.name == b.name && a.address == b.address && a.labels.elementsEqual(b.labels) { $0 == $1 }
    }
}

/// The rules of a real node: what `iptables-save`, `ipset save` and `nft -j list ruleset` printed there; one of the first and the last at least.
public struct NodeRules: Sendable {
    /// What becomes of a rule with a match or a target that is not understood.
    public enum Unknown: String, Sendable, CaseIterable {
        /// The file is refused.
        case refuse
        /// The rule is left out, with a warning.
        case skip
        /// The match is taken to hold, the target to do nothing, with a warning.
        case match
    }
    /// As the person named it; empty without.
    public var file = ""
    public var lines: [String] = []
    public var setsFile = ""
    public var setLines: [String] = []
    /// What `nft -j list ruleset` printed; empty without.
    public var nftFile = ""
    public var nft = ""
    public var unknown = Unknown.refuse
    public init() {}
    public init(file: String, lines: [String]) { (self.file, self.lines) = (file, lines) }

    /// The files' names, for people.
    public var name: String { [file, nftFile].filter { !$0.isEmpty }.joined(separator: ", ") }
}

/// How kube-proxy turns Services into rules.
public enum ProxyMode: String, Sendable, CaseIterable { case iptables, nftables, ipvs }

/// What becomes of packets that no NetworkPolicy allows; `off` is a network plugin that knows no policies.
public enum PolicyMode: String, Sendable, CaseIterable { case drop, reject, off }

public struct LinkSettings: Sendable, Equatable {
    /// Bits per second; nil is unlimited.
    public var rate: UInt64?
    public var delay: Duration?
    public init() {}
}

/// `spec.hosts`: a machine on the nodes' network that is not part of the cluster.
public struct OutsideHost: Sendable, Equatable {
    public var name: String
    public var address: IPv4Address
    /// Names that the cluster's upstream DNS server gives it, such as "example.com".
    public var names: [String] = []
    public var position: Position
}

/// `spec.steps`: one command that somebody types somewhere.
public struct Step: Sendable {
    public enum Start: Sendable, Equatable {
        /// When the step before it has ended; the first one at `ScenarioTiming.firstStep`.
        case afterPrevious
        case at(Instant)
        case after(step: String, delay: Duration)
    }
    /// Unique in the scenario; "step 3" when it was not given.
    public var id: String
    public var start = Start.afterPrevious
    public var place: Place
    public var container: String?
    public var command: String
    /// What the step does to the cluster instead of running a command; `command` is then how kubectl would be called.
    public var change: StepChange?
    /// What clients ask for instead of running a command; `command` then says so in words.
    public var requests: RequestSettings?
    /// How often the command runs, one after another; output is joined and the last non-zero exit status counts.
    public var repetitions = 1
    /// The command is ended (SIGKILL, exit status 137) when it runs for longer.
    public var timeout = Duration.seconds(600)
    public var position: Position
}

/// `requests` of a step: clients that send HTTP requests at a rate.
public struct RequestSettings: Sendable {
    /// "web:80": a Service's name, a pod's, a node's or an address.
    public var target: String
    public var host: String
    public var path: String
    public var interval: Duration
    public var count: Int
    public var timeout: Duration
    public var keepsAlive: Bool
}

/// A step that changes the cluster: `apply`, `label`, `scale` and the others of `ChangeReader.keys`.
public enum StepChange: Sendable {
    /// Files relative to the scenario and objects written in it; `ScenarioFile` reads them.
    case files([YAMLValue], isDeletion: Bool)
    case change(ClusterChange)
}

/// Where a command runs, as `spec.steps[].in` names it: `pod/web-0`, `deploy/web`, `sts/web`, `ds/agent`, `job/once`, `node/node1`, `host/client`;
/// pods and controllers may carry a namespace: `shop/pod/web-0`.
public struct Place: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        case pod, deployment, statefulSet, daemonSet, replicaSet, replicationController, job, service, node, host
        /// The API server, for steps that change the cluster; nobody types it.
        case cluster
    }
    public var kind: Kind
    public var namespace: String
    public var name: String

    public init(kind: Kind, namespace: String = "default", name: String) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }

    /// Nil when the text has no such form. A bare name is a pod.
    public init?(_ text: String) {
        var words = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard words.allSatisfy({ !$0.isEmpty }), (1...3).contains(words.count) else { return nil }
        let namespace = words.count == 3 ? words.removeFirst() : "default"
        if words.count == 1 { words.insert("pod", at: 0) }
        guard let kind = Place.spellings.first(where: { $0.words.contains(words[0].lowercased()) })?.kind else { return nil }
        self.init(kind: kind, namespace: namespace, name: words[1])
    }

    public var description: String {
        if kind == .cluster { return name }
        let short = Place.spellings.first { $0.kind == kind }?.words[0] ?? kind.rawValue
        return namespace == "default" ? "\(short)/\(name)" : "\(namespace)/\(short)/\(name)"
    }

    /// What kubectl accepts for each kind, the customary one first.
    static let spellings: [(kind: Kind, words: [String])] = [
        (.pod, ["pod", "po", "pods"]), (.deployment, ["deploy", "deployment", "deployments"]), (.statefulSet, ["sts", "statefulset", "statefulsets"]),
        (.daemonSet, ["ds", "daemonset", "daemonsets"]), (.replicaSet, ["rs", "replicaset", "replicasets"]),
        (.replicationController, ["rc", "replicationcontroller", "replicationcontrollers"]), (.job, ["job", "jobs"]),
        (.service, ["svc", "service", "services"]), (.node, ["node", "no", "nodes"]), (.host, ["host", "hosts"]),
    ]
}

/// `spec.faults`: something goes wrong on a cable for a while.
public struct Fault: Sendable {
    public enum Effect: Sendable, Equatable {
        case loss(Ratio)
        case delay(Duration)
        case down
    }
    public var at: Instant
    /// Nil lasts to the end of the run.
    public var duration: Duration?
    /// `node1`, `pod/web-0`, `host/client`: the cable of that machine's eth0.
    public var link: Place
    public var effect: Effect
    public var position: Position
}

/// `spec.capture`.
public struct CaptureSettings: Sendable {
    /// Shell patterns over `HOST:INTERFACE`, such as `*`, `node1:*`, `pod1:eth0`.
    public var interfaces = ["*"]
    /// pcap-filter(7) syntax; empty keeps everything.
    public var filter = ""
    public var position: Position?
    public init() {}
}

/// `spec.tcpProbe`: which connections are traced.
public struct TCPProbeSettings: Sendable, Equatable {
    /// Shell patterns over hosts: `*`, `node1`, `default/web-*`; pods may be named without their namespace.
    public var hosts = ["*"]
    /// Connections with one of these ports at either end; empty means all.
    public var ports: [UInt16] = []
    /// False: a line only when the congestion window has changed.
    public var full = true
    public init() {}
}

/// The virtual times of a boot. They are part of what a seed reproduces, so a change of them is a change of behaviour.
public enum ScenarioTiming {
    /// When the kubelet has looked at every container once and kube-proxy has written its first rules.
    public static let rules = Instant(nanoseconds: 200_000_000)
    /// How long kube-proxy takes to follow a change of readiness.
    public static let ruleLag = Duration.milliseconds(100)
    /// How often kube-proxy looks whether servers of IPVS that have left still have connections (`rsCheckDeleteInterval`).
    public static let terminations = Duration.seconds(60)
    /// The first step's default, and the earliest moment at which `exec` and `get` look at the cluster.
    public static let firstStep = Instant(nanoseconds: 1_000_000_000)
    /// How often IPVS estimates its rates (ip_vs_est.c).
    public static let rates = Duration.seconds(2)
    /// How long `exec` and `get` wait for pods that are not ready.
    public static let patience = Instant(nanoseconds: 60_000_000_000)
    /// The first look of a readiness probe after its container started (besides `initialDelaySeconds`).
    public static let firstProbe = Duration.milliseconds(100)
    /// From the end of a deleted pod's last container until its network namespace is gone (`StopPodSandbox` and the plugins' DEL). In between its
    /// address answers with resets, afterwards with nothing.
    public static let sandboxTeardown = Duration.milliseconds(200)
    /// Quiet time after the last step: late ACKs, FINs and ARP answers belong to the story.
    public static let tail = Duration.milliseconds(500)
}
