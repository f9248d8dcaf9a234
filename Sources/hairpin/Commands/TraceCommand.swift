import ArgumentParser
import HairpinScenario
import HairpinWire

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "Ask what would become of a packet to a Service.",
        discussion: """
            Boots the cluster and asks the tables that frames meet: the verdict, every endpoint the packet may reach with its probability, whether its \
            source is masqueraded, and the rules that decided, by name. Nothing is sent.

              hairpin trace -f web.yaml --from deploy/shell --to web:80
              hairpin trace -f web.yaml --from 203.0.113.7 --to node1:30080 --output detailed

            ENDPOINT: translated to an endpoint. REJECT: ICMP port unreachable to the sender. DROP: silence. ACCEPT: let through as it is. \
            NONE: kube-proxy has no opinion, ordinary routing decides.

            With --iptables or --nft the rules are those of a real node, as iptables-save or nft -j list ruleset printed them there, and are named by their \
            lines or handles; -f may then be left out:

              hairpin trace --nft node1.json --from 10.244.0.7 --to 10.96.0.20:80 --output detailed
              hairpin trace --iptables node1.rules --local-address 192.0.2.10 --from 203.0.113.7 --to 192.0.2.10:30080 --output detailed
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable { case minimal, summary, detailed, json }
    enum TransportProtocol: String, ExpressibleByArgument, CaseIterable {
        case tcp, udp, sctp
        var number: UInt8 { self == .tcp ? 6 : self == .udp ? 17 : 132 }
    }

    @OptionGroup var cluster: ClusterOptions

    @Option(help: "Who sends: POD, TYPE/NAME, node/NAME, host/NAME or an address.")
    var from: String

    @Option(help: "HOST:PORT; HOST is a Service's name, a node's or an address, PORT a number or the name of a Service's port.")
    var to: String

    @Option(name: [.customShort("p"), .long], help: "tcp, udp or sctp.")
    var `protocol` = TransportProtocol.tcp

    @Option(help: "The node at which packets from outside come in; by default the one that has the address, else the first.")
    var node: String?

    @Option(help: "The node's rules: a file with what iptables-save printed, in place of kube-proxy's and the network plugin's.", completion: .file())
    var iptables: String?

    @Option(help: "A file with what ipset save printed, for rules that ask sets.", completion: .file())
    var ipset: String?

    @Option(help: "The node's rules in nftables: a file with what nft -j list ruleset printed.", completion: .file())
    var nft: String?

    @Option(name: .customLong("unknown"), help: "What becomes of a rule that is not understood: refuse, skip or match (what is unknown is taken to hold).")
    var unknown = NodeRules.Unknown.refuse

    @Option(help: "The interface packets come in by, in place of cni0 for pods and eth0 for others.")
    var inInterface: String?

    @Option(help: "The interface packets leave by, in place of cni0 toward the node's pods and eth0.")
    var outInterface: String?

    @Option(name: .customLong("local-address"), help: "One more address of the node itself; may be repeated.")
    var localAddresses: [String] = []

    @Option(name: .shortAndLong, help: "minimal, summary, detailed or json.")
    var output = Format.summary

    func run() throws {
        if iptables == nil, ipset != nil { throw ValidationError("--ipset needs --iptables.") }
        var loaded = try cluster.load(needsFiles: iptables == nil && nft == nil)
        if let rules = try nodeRules() {
            let name = node ?? loaded.scenario.cluster.nodes[0].name
            guard let index = loaded.scenario.cluster.nodes.firstIndex(where: { $0.name == name }) else { throw Failure(.notFound, "there is no node \"\(name)\"") }
            loaded.scenario.cluster.nodes[index].rules = rules
            // Without manifests there is no cluster to name things by: not even its DNS.
            if cluster.files.isEmpty { loaded.scenario.cluster.dns = false }
        }
        let tracing = try ServiceTracing(loaded, hooks: cluster.hooks())
        (tracing.inputInterface, tracing.outputInterface) = (inInterface, outInterface)
        for text in localAddresses {
            guard let address = IPv4Address(text) else { throw ValidationError("--local-address \"\(text)\" is not an IPv4 address.") }
            tracing.localAddresses.append(address)
        }
        let result = try tracing.trace(from: from, to: to, proto: self.protocol.number, namespace: cluster.namespace, at: node)
        switch output {
        case .json: try Output.write(json(result))
        case .minimal: try Output.write(TraceCommand.minimal(result) + "\n")
        case .summary: try Output.write(TraceCommand.summary(result))
        case .detailed: try Output.write(TraceCommand.summary(result) + TraceCommand.rules(result))
        }
    }

    private func nodeRules() throws(Failure) -> NodeRules? {
        guard iptables != nil || nft != nil else { return nil }
        var rules = NodeRules()
        if let iptables { (rules.file, rules.lines) = (iptables, try ScenarioFile.lines(path: iptables)) }
        if let nft { (rules.nftFile, rules.nft) = (nft, try ScenarioFile.lines(path: nft).joined(separator: "\n")) }
        if let ipset { (rules.setsFile, rules.setLines) = (ipset, try ScenarioFile.lines(path: ipset)) }
        rules.unknown = unknown
        return rules
    }

    private static func minimal(_ result: TraceResult) -> String {
        result.endpoints.isEmpty
            ? result.verdict : result.endpoints.map { "\($0.address):\($0.port)" }.joined(separator: ",") + (result.masqueraded ? " masqueraded" : "")
    }

    private static func summary(_ result: TraceResult) -> String {
        var text = "\(result.from) -> \(result.to) \(result.protocol), decided on \(result.node) (\(result.proxyMode))\n"
        text += "verdict   \(result.verdict)" + (result.service.map { "  Service \($0)" } ?? "") + "\n"
        if let note = result.note { text += "because   \(note)\n" }
        if let seconds = result.affinitySeconds { text += "affinity  ClientIP, \(seconds) s: a client keeps the endpoint of its first connection\n" }
        for endpoint in result.endpoints {
            let share = Double(Int(endpoint.probability * 10_000 + 0.5)) / 100
            text += "endpoint  \(endpoint.address):\(endpoint.port)  \(share) %" + (endpoint.pod.map { "  pod \($0)" } ?? "") + (endpoint.node.map { " on \($0)" } ?? "")
            text += endpoint.masqueraded ? "  masqueraded" : "  source kept"
            if let verdict = endpoint.verdict, verdict != "ACCEPT" { text += "  \(verdict)" }
            text += (endpoint.rules?.first.map { "  by \($0.place)" } ?? "") + "\n"
            if let policy = endpoint.policy { text += "policy    \(policy.isAllowed ? "allowed" : "REFUSED"): \(policy.words)\n" }
        }
        if let policy = result.policy { text += "policy    \(policy.isAllowed ? "allowed" : "REFUSED"): \(policy.words)\n" }
        if let rule = result.decidedBy { text += "decided   \(rule.place): \(rule.table) \(rule.text)\n" }
        if let hint = result.hint { text += "hint      \(hint)\n" }
        return text
    }

    private static func rules(_ result: TraceResult) -> String {
        var lines = result.path
        for endpoint in result.endpoints {
            for rule in endpoint.rules ?? [] { lines.append("\(endpoint.address):\(endpoint.port): \(rule.place): \(rule.table) \(rule.text)") }
        }
        return lines.isEmpty ? "rules     none of kube-proxy's matched\n" : lines.enumerated().map { "\($0 == 0 ? "rules     " : "          ")\($1)\n" }.joined()
    }
}

extension NodeRules.Unknown: ExpressibleByArgument {}
