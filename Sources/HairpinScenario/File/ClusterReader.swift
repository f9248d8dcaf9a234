import HairpinCluster
import HairpinEngine
import HairpinWire

/// Reads `spec.cluster`.
enum ClusterReader {
    /// Network set-ups that are modelled, and those that are known by name only.
    static let networks = ClusterSettings.networks
    static let unmodelledNetworks = ["flannel-vxlan", "flannel-ipip", "calico-ipip", "calico-vxlan", "kindnet"]
    static let firstNodeAddress = IPv4Address(192, 168, 50, 11)
    static let maximumNodes = 200

    static func read(_ value: YAMLValue) throws(InputError) -> ClusterSettings {
        try value.checkKeys([
            "nodes", "podCIDR", "serviceCIDR", "cni", "proxyMode", "ipvsScheduler", "networkPolicy", "dns", "resolver", "links", "linearRules", "endpointsDelay", "kubeProxyDelay",
        ])
        var settings = ClusterSettings()
        if let nodes = value["nodes"] { settings.nodes = try self.nodes(nodes) }
        if let range = value["podCIDR"] { settings.podCIDR = try range.prefix() }
        if let range = value["serviceCIDR"] { settings.serviceCIDR = try range.prefix() }
        settings.dns = try value.bool("dns") ?? true
        if let resolver = value["resolver"] { settings.resolver = try self.resolver(resolver) }
        if let cni = value["cni"] {
            let name = try cni.scalarText()
            if unmodelledNetworks.contains(name) {
                throw cni.error(problem: "is not modelled yet", fix: "Use one of \(networks.joined(separator: ", ")).")
            }
            settings.cni = try cni.word(among: networks)
        }
        if let mode = value["proxyMode"] {
            settings.proxyMode = ProxyMode(rawValue: try mode.word(among: ProxyMode.allCases.map(\.rawValue))) ?? .iptables
        }
        if let scheduler = value["ipvsScheduler"] {
            settings.ipvsScheduler = try scheduler.word(among: ClusterSettings.ipvsSchedulers)
            guard settings.proxyMode == .ipvs else { throw scheduler.error(problem: "stands without IPVS", fix: "Add \"proxyMode: ipvs\", or remove it.") }
        }
        if let mode = value["networkPolicy"] {
            // YAML 1.1 reads a bare "off" as false.
            let isFalse = if case .bool(false) = mode.content { true } else { false }
            settings.networkPolicy = isFalse ? .off : PolicyMode(rawValue: try mode.word(among: PolicyMode.allCases.map(\.rawValue))) ?? .drop
        }
        if let delay = value["endpointsDelay"] { settings.endpointsDelay = try delay.duration() }
        if let delay = value["kubeProxyDelay"] { settings.kubeProxyDelay = try delay.duration() }
        if let rules = value["linearRules"] { settings.linearRules = try linearRules(rules) }
        if let links = value["links"] {
            try links.checkKeys(["node"])
            if let node = links["node"] { settings.nodeLink = try link(node) }
        }
        return settings
    }

    /// resolv.conf of the nodes, in the words of a pod's `dnsConfig`.
    private static func resolver(_ value: YAMLValue) throws(InputError) -> ResolverFile {
        try value.checkKeys(["nameservers", "searches", "options"])
        var file = ResolverFile()
        for item in try value.items("nameservers") { file.nameservers.append(try item.address().description) }
        for item in try value.items("searches") { file.searches.append(try Manifests.domain(item)) }
        for item in try value.items("options") { file.options.append(try item.string()) }
        return file
    }

    /// A list of nodes, or just how many.
    private static func nodes(_ value: YAMLValue) throws(InputError) -> [NodeSettings] {
        if value.isScalar {
            let count = try value.integer(in: 1...maximumNodes, what: "a list of nodes or their number")
            return (0..<count).map { NodeSettings(name: "node\($0 + 1)", address: IPv4Address(rawValue: firstNodeAddress.rawValue + UInt32($0))) }
        }
        var nodes: [NodeSettings] = []
        for (number, item) in try value.items().enumerated() {
            try item.checkKeys(["name", "address", "labels", "iptables", "ipset", "nft", "unknownRules"])
            let nameValue = try item.require("name", fix: "Add \"name: node\(number + 1)\".")
            var node = NodeSettings(name: try nameValue.string(), address: IPv4Address(rawValue: firstNodeAddress.rawValue + UInt32(number)))
            if let address = item["address"] { node.address = try address.address() }
            if let labels = item["labels"] { node.labels = try labels.stringMap().map { (name: $0.key, value: $0.value) } }
            if item["iptables"] == nil, let value = item["ipset"] {
                throw value.error(problem: "stands without \"iptables\"", fix: "Name the file with the node's rules: \"iptables: \(node.name).rules\".")
            }
            if item["iptables"] == nil, item["nft"] == nil, let value = item["unknownRules"] {
                let fix = "Name a file with the node's rules: \"iptables: \(node.name).rules\" or \"nft: \(node.name).json\"."
                throw value.error(problem: "stands without \"iptables\" and \"nft\"", fix: fix)
            }
            if item["iptables"] != nil || item["nft"] != nil { node.rules = try rules(item) }
            if nodes.contains(where: { $0.name == node.name }) {
                throw nameValue.error(problem: "is the name of another node", fix: "Give every node a name of its own.")
            }
            if let other = nodes.first(where: { $0.address == node.address }) {
                throw (item["address"] ?? item).error(problem: "is the address of \(other.name)", fix: "Give every node an address of its own.")
            }
            nodes.append(node)
        }
        guard !nodes.isEmpty else { throw value.error(problem: "has no node", fix: "Write at least one: \"- {name: node1, address: \(firstNodeAddress)}\".") }
        guard nodes.count <= maximumNodes else { throw value.error(problem: "has more than \(maximumNodes) nodes", fix: "Use fewer nodes.") }
        return nodes
    }

    /// The files are read relative to the one that names them.
    private static func rules(_ node: YAMLValue) throws(InputError) -> NodeRules {
        var rules = NodeRules()
        if let iptables = node["iptables"] { (rules.file, rules.lines) = (try iptables.string(), try ScenarioFile.lines(iptables)) }
        if let nft = node["nft"] { (rules.nftFile, rules.nft) = (try nft.string(), try ScenarioFile.lines(nft).joined(separator: "\n")) }
        if let sets = node["ipset"] { (rules.setsFile, rules.setLines) = (try sets.string(), try ScenarioFile.lines(sets)) }
        if let unknown = node["unknownRules"] { rules.unknown = NodeRules.Unknown(rawValue: try unknown.word(among: NodeRules.Unknown.allCases.map(\.rawValue))) ?? .refuse }
        return rules
    }

    /// `true`, or a duration for each rule.
    private static func linearRules(_ value: YAMLValue) throws(InputError) -> Duration? {
        if case .bool(let isOn) = value.content { return isOn ? ClusterSettings.ruleCost : nil }
        return try value.duration()
    }

    private static func link(_ value: YAMLValue) throws(InputError) -> LinkSettings {
        try value.checkKeys(["rate", "delay"])
        var link = LinkSettings()
        if let rate = value["rate"] { link.rate = try rate.rate() }
        if let delay = value["delay"] {
            let duration = try delay.duration()
            guard duration > .zero else { throw delay.error(problem: "is no time at all", fix: "A cable between machines takes time: write 1us or more.") }
            link.delay = duration
        }
        return link
    }
}
