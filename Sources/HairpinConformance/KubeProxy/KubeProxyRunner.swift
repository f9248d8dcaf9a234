import Foundation
import HairpinProxy
import HairpinWire

/// Runs kube-proxy's packet-flow cases: Services and EndpointSlices become the table of a node, and each flow's first packet is sent as a frame until it
/// has been everywhere it can go. IPv6 has no datapath here: those flows are decided on the compiled table, and say so.
public struct KubeProxyRunner: Sendable {
    public enum Status: String, Sendable { case passed, failed, unsupported }
    public struct Case: Sendable {
        /// "group/flow [mode]"
        public var id: String
        public var status: Status
        public var expected: String
        public var actual: String
        /// How it was decided, where that was not by frames.
        public var note: String?
    }
    /// Patterns of ids that are wanted; empty for all.
    public var isWanted: @Sendable (String) -> Bool = { _ in true }
    public init() {}

    /// The cases of a file, or of the files of a folder, in their order.
    public func run(_ path: String, each: (Case) throws -> Void) throws {
        for file in try ProxyCaseFile.files(path) {
            for group in file.groups {
                for mode in group["modes"] as? [String] ?? ["iptables", "nftables"] {
                    for result in outcomes(file, group, mode) { try each(result) }
                }
            }
            for item in file.topologyCases {
                let result = topology(item, node: file.nodeName)
                if isWanted(result.id) { try each(result) }
            }
        }
    }

    // MARK: Flows

    private func outcomes(_ file: ProxyCaseFile, _ group: [String: Any], _ modeName: String) -> [Case] {
        let id = group["id"] as? String ?? "unnamed"
        let steps = group["steps"] as? [[String: Any]] ?? []
        var results: [Case] = []
        func flows(_ step: [String: Any]) -> [[String: Any]] {
            (step["flows"] as? [[String: Any]] ?? []).filter { ($0["onlyModes"] as? [String])?.contains(modeName) ?? true }
        }
        func name(_ number: Int, _ flow: [String: Any]) -> String {
            "\(id)/\(steps.count > 1 ? "\(number + 1)/" : "")\(flow["name"] as? String ?? "unnamed") [\(modeName)]"
        }
        do {
            guard let mode = ServiceProxyMode(rawValue: modeName), mode != .ipvs else { throw Unsupported("the mode \(modeName)") }
            var state = try ProxyCaseState(group)
            var play = try ProxyPlay(file, group, mode)
            if let wanted = try play.martianRule, mode == .iptables {
                let expected = wanted ? "KUBE-FIREWALL drops martians" : "no KUBE-FIREWALL"
                try play.program(state)
                let actual = play.hasMartianRule ? "KUBE-FIREWALL drops martians" : "no KUBE-FIREWALL"
                let id = "\(id)/KUBE-FIREWALL [\(modeName)]"
                if isWanted(id) { results.append(Case(id: id, status: expected == actual ? .passed : .failed, expected: expected, actual: actual)) }
            }
            for (number, step) in steps.enumerated() {
                if let action = step["action"] as? [String: Any] { try state.apply(action) }
                try play.program(state)
                for flow in flows(step) {
                    let id = name(number, flow)
                    guard isWanted(id) else { continue }
                    results.append(outcome(id, flow, modeName, &play))
                }
            }
        } catch {
            let done = Set(results.map(\.id))
            for (number, step) in steps.enumerated() {
                for flow in flows(step) where !done.contains(name(number, flow)) && isWanted(name(number, flow)) {
                    results.append(Case(id: name(number, flow), status: .unsupported, expected: KubeProxyRunner.expectation(flow, modeName), actual: "\(error)"))
                }
            }
        }
        return results
    }

    private func outcome(_ id: String, _ flow: [String: Any], _ mode: String, _ play: inout ProxyPlay) -> Case {
        let expected = KubeProxyRunner.expectation(flow, mode)
        do {
            let (actual, note) = try play.look(flow)
            return Case(id: id, status: actual == expected ? .passed : .failed, expected: expected, actual: actual, note: note)
        } catch {
            return Case(id: id, status: .unsupported, expected: expected, actual: "\(error)")
        }
    }

    /// "10.180.0.1:80, 10.180.1.1:80 masqueraded", "DROP".
    private static func expectation(_ flow: [String: Any], _ mode: String) -> String {
        var flow = flow
        if let special = flow["byMode"] as? [String: Any], let changes = special[mode] as? [String: Any] {
            if changes["verdict"] != nil { flow["to"] = nil }
            if changes["to"] != nil { flow["verdict"] = nil }
            flow.merge(changes) { $1 }
        }
        return describe(flow["to"] as? [String], verdict: flow["verdict"] as? String ?? "", isMasqueraded: flow["masq"] as? Bool ?? false)
    }

    static func describe(_ endpoints: [String]?, verdict: String, isMasqueraded: Bool) -> String {
        guard let endpoints, !endpoints.isEmpty else { return verdict }
        return endpoints.sorted().joined(separator: ", ") + (isMasqueraded ? " masqueraded" : "")
    }

    // MARK: Topology

    /// Which endpoints a Service uses: the lists of the compiled table.
    private func topology(_ item: [String: Any], node: String) -> Case {
        let id = "topology/\(item["name"] as? String ?? "unnamed")"
        func text(_ list: [String]?, _ name: String) -> String { "\(name) \(list.map { "[\($0.sorted().joined(separator: ", "))]" } ?? "none")" }
        let wanted = ["cluster", "local", "all"].map { text(item[$0] as? [String], $0) }.joined(separator: "; ")
        do {
            var object = CaseObject(item, "topology case")
            let _: String? = try object.take("name")
            let zone: String? = try object.take("nodeZone")
            let nodeName: String = try object.take("nodeName") ?? node
            let _: Bool? = try object.take("onlyRemoteEndpoints")
            for key in ["cluster", "local", "all"] { _ = try object.list(key) }
            var service = CaseObject(try object.need("service"), "service")
            let annotation: String? = try service.take("hints")
            var rules = ServicePortRules(
                namespace: "ns", service: "svc", proto: 6, clusterAddress: ServiceAddress("172.30.0.1") ?? ServiceAddress(high: 0, low: 0), port: 80)
            rules.isInternalLocal = try service.take("iTP") == "Local"
            rules.isExternalLocal = try service.take("eTP") == "Local"
            if try service.take("external") == true { rules.nodePort = 3000 }
            rules.topologyAnnotation = annotation
            try service.finish()
            var endpoints: [ProxyEndpoint] = []
            for value in try object.need("endpoints", as: [[String: Any]].self) {
                var endpoint = CaseObject(value, "endpoint")
                let text: String = try endpoint.need("ep")
                guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
                    let address = ServiceAddress(text[..<colon].filter { $0 != "[" && $0 != "]" })
                else { throw Unsupported("the endpoint \(text)") }
                let ready: Bool = try endpoint.take("ready") ?? true
                let serving: Bool? = try endpoint.take("serving")
                let terminating: Bool = try endpoint.take("terminating") ?? false
                let local: Bool = try endpoint.take("local") ?? false
                endpoints.append(
                    ProxyEndpoint(
                        address: address, port: port, isReady: ready, isServing: serving, isTerminating: terminating, isLocal: local,
                        zoneHints: try endpoint.list("zoneHints"), nodeHints: try endpoint.list("nodeHints")))
                try endpoint.finish()
            }
            try object.finish()
            var settings = ProxySettings(mode: .iptables, nodeName: nodeName, nodeAddress: rules.clusterAddress, podRanges: [], serviceRanges: [])
            settings.zone = zone ?? ""
            // What only kube-proxy before 1.33 does is asked of it as it was.
            settings.requiresTopologyAnnotation = item["legacy"] != nil
            let table = ServiceTable(settings, services: [(rules, endpoints)])
            let entry = table.entries[0]
            func names(_ list: Range<Int>) -> [String] { list.map { table.endpoints[$0].text } }
            let all = Set(names(entry.cluster) + names(entry.local))
            let actual = [
                text(rules.usesClusterEndpoints ? names(entry.cluster) : nil, "cluster"), text(rules.usesLocalEndpoints ? names(entry.local) : nil, "local"),
                text(Array(all), "all"),
            ].joined(separator: "; ")
            let note = "the lists of the compiled table" + (settings.requiresTopologyAnnotation ? ", as kube-proxy before 1.33 has them" : "")
            return Case(id: id, status: actual == wanted ? .passed : .failed, expected: wanted, actual: actual, note: note)
        } catch {
            return Case(id: id, status: .unsupported, expected: wanted, actual: "\(error)")
        }
    }
}

/// One group in one mode.
private struct ProxyPlay {
    private let nodeName: String
    private let nodeAddresses: [ServiceAddress]
    private var four: ProxySettings
    private var six: ProxySettings
    private let config: [String: Any]
    private let mode: ServiceProxyMode
    private let endpoints: [IPv4Address]
    private let podRange: IPv4Prefix
    private var bench: ProxyBench?
    private var tables: (four: ServiceTable, six: ServiceTable)?

    init(_ file: ProxyCaseFile, _ group: [String: Any], _ mode: ServiceProxyMode) throws {
        self.mode = mode
        nodeName = file.nodeName
        config = group["config"] as? [String: Any] ?? [:]
        nodeAddresses = file.convention("nodeIPs").compactMap { ServiceAddress($0) }
        let pods = file.convention("podCIDR").compactMap { ServicePrefix($0) }
        let services = file.convention("serviceCIDR").compactMap { ServicePrefix($0) }
        guard let first = nodeAddresses.first(where: { $0.ipv4 != nil }), let pod = pods.first(where: \.isIPv4), let network = pod.network.ipv4 else {
            throw Unsupported("conventions without IPv4 addresses of the node and the pods")
        }
        podRange = IPv4Prefix(network, length: pod.length)
        var object = CaseObject(config, "config")
        let _: String? = try object.take("ipFamily")
        let masqueradeAll: Bool = try object.take("masqueradeAll") ?? false
        let detectLocal: Bool = try object.take("detectLocal") ?? true
        let localhost: Bool = try object.take("localhostNodePorts") ?? true
        let _: Bool? = try object.take("expectKubeFirewallMartianRule")
        let hasRanges = !(config["nodePortAddresses"] is NSNull) && config["nodePortAddresses"] != nil
        let ranges = try object.list("nodePortAddresses").filter { $0 != "primary" }.map { text in
            guard let range = ServicePrefix(text) else { throw Unsupported("config: the range \(text)") }
            return range
        }
        try object.finish()
        func settings(_ address: ServiceAddress) -> ProxySettings {
            var settings = ProxySettings(
                mode: mode, nodeName: file.nodeName, nodeAddress: address, podRanges: detectLocal ? pods.filter { $0.isIPv4 == (address.ipv4 != nil) } : [],
                serviceRanges: services.filter { $0.isIPv4 == (address.ipv4 != nil) })
            settings.masqueradeAll = masqueradeAll
            settings.localhostNodePorts = localhost
            settings.nodePortAddresses = hasRanges && !ranges.isEmpty ? ranges : nil
            return settings
        }
        four = settings(first)
        six = settings(nodeAddresses.first { $0.ipv4 == nil } ?? ServiceAddress(high: 0, low: 1))
        // Whatever a step may bring: every address written as an endpoint or a client anywhere in the group.
        var found: [IPv4Address] = []
        func collect(_ value: Any) {
            if let object = value as? [String: Any] {
                for key in ["ip", "src"] { if let text = object[key] as? String, let address = IPv4Address(text) { found.append(address) } }
                object.values.forEach(collect)
            } else if let list = value as? [Any] {
                list.forEach(collect)
            }
        }
        collect(group)
        endpoints = found
    }

    var martianRule: Bool? {
        get throws { config["expectKubeFirewallMartianRule"] as? Bool }
    }
    /// Of the family the group is about.
    var hasMartianRule: Bool {
        guard let tables else { return false }
        var set = SavedRules()
        (config["ipFamily"] as? String == "IPv6" ? tables.six : tables.four).writeBase(&set)
        return set.lines().contains { $0.hasPrefix("-A KUBE-FIREWALL ") && $0.contains("-d 127.0.0.0/8") && $0.hasSuffix("-j DROP") }
    }

    mutating func program(_ state: ProxyCaseState) throws {
        let made = (
            four: ServiceTable(four, services: try state.input(isIPv4: true, node: nodeName)),
            six: ServiceTable(six, services: try state.input(isIPv4: false, node: nodeName))
        )
        tables = made
        let bench = try bench ?? ProxyBench(node: nodeName, addresses: nodeAddresses.compactMap(\.ipv4), podRange: podRange, endpoints: endpoints)
        self.bench = bench
        try bench.program(made.four)
    }

    /// What became of a flow, and how that is known if not by frames.
    func look(_ flow: [String: Any]) throws -> (String, String?) {
        var object = CaseObject(flow, "flow")
        for key in ["name", "verdict"] { let _: String? = try object.take(key) }
        for key in ["to", "onlyModes"] { _ = try object.list(key) }
        let _: Bool? = try object.take("masq")
        let _: [String: Any]? = try object.take("byMode")
        let sourceText: String = try object.need("src")
        let destinationText: String = try object.need("dst")
        let proto = try ProxyCaseState.proto(object.take("proto") ?? "TCP")
        let number: Int = try object.need("port")
        try object.finish()
        guard let source = ServiceAddress(sourceText), let destination = ServiceAddress(destinationText), let port = UInt16(exactly: number), let tables, let bench else {
            throw Unsupported("the flow \(sourceText) to \(destinationText) port \(number)")
        }
        func isLocal(_ address: ServiceAddress) -> Bool { nodeAddresses.contains(address) || address.isLoopback }
        let asked = ServiceFlow(
            source: source, destination: destination, proto: proto, port: port, isSourceLocal: isLocal(source), isDestinationLocal: isLocal(destination))
        let trace = (destination.ipv4 == nil ? tables.six : tables.four).trace(asked, isFromNode: asked.isSourceLocal)
        let decided = KubeProxyRunner.describe(
            trace.verdict == .endpoint ? trace.choices.map(\.endpoint.text) : nil, verdict: trace.verdict.rawValue, isMasqueraded: trace.isMasqueraded)
        guard let from = source.ipv4, let to = destination.ipv4 else { return (decided, "decided on the compiled table: IPv6 has no datapath") }
        let seen = try frames(bench, from, to, proto, port, trace)
        if seen != decided { return ("\(seen) by frames, \(decided) by the table", nil) }
        return (seen, nil)
    }

    /// Connections enough that one of several equal choices is missed less than once in 10^10 flows.
    private func frames(_ bench: ProxyBench, _ source: IPv4Address, _ destination: IPv4Address, _ proto: UInt8, _ port: UInt16, _ trace: ServiceTrace) throws -> String {
        var sights: Set<ProxyBench.Sight> = []
        let count = trace.choices.count > 1 ? 24 * trace.choices.count : 2
        for _ in 0..<count {
            sights.insert(try bench.connect(source, destination, proto, port))
            if let seconds = trace.affinitySeconds, trace.choices.count > 1 {
                // The same client comes back to the same endpoint, until it has been away for long enough.
                guard try bench.connect(source, destination, proto, port) == sights.first || sights.count > 1 else { return "an endpoint forgets its client" }
                bench.wait(seconds: seconds + 1)
            }
        }
        guard bench.isBalanced else { return "the books do not balance" }
        let verdicts = Set(sights.map(\.verdict))
        guard let verdict = verdicts.first, verdicts.count == 1 else { return "now \(verdicts.map(\.rawValue).sorted().joined(separator: ", now "))" }
        if verdict == .endpoint {
            return KubeProxyRunner.describe(Set(sights.map(\.endpoint)).sorted(), verdict: "", isMasqueraded: sights.contains(where: \.isMasqueraded))
        }
        if verdict == .none, try mode != .nftables && bench.isAccepted(source, destination, proto, port) { return "ACCEPT" }
        return verdict.rawValue
    }
}
