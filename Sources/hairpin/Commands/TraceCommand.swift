import ArgumentParser
import HairpinScenario

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

    @Option(name: .shortAndLong, help: "minimal, summary, detailed or json.")
    var output = Format.summary

    func run() throws {
        let tracing = try ServiceTracing(cluster.load(), hooks: cluster.hooks())
        let result = try tracing.trace(from: from, to: to, proto: self.protocol.number, namespace: cluster.namespace, at: node)
        switch output {
        case .json: try Output.write(json(result))
        case .minimal: try Output.write(TraceCommand.minimal(result) + "\n")
        case .summary: try Output.write(TraceCommand.summary(result))
        case .detailed: try Output.write(TraceCommand.summary(result) + TraceCommand.rules(result))
        }
    }

    private static func minimal(_ result: TraceResult) -> String {
        result.endpoints.isEmpty
            ? result.verdict : result.endpoints.map { "\($0.address):\($0.port)" }.joined(separator: ",") + (result.masqueraded ? " masqueraded" : "")
    }

    private static func summary(_ result: TraceResult) -> String {
        var text = "\(result.from) -> \(result.to) \(result.protocol), decided on \(result.node) (\(result.proxyMode))\n"
        text += "verdict   \(result.verdict)" + (result.service.map { "  Service \($0)" } ?? "") + "\n"
        if let seconds = result.affinitySeconds { text += "affinity  ClientIP, \(seconds) s: a client keeps the endpoint of its first connection\n" }
        for endpoint in result.endpoints {
            let share = Double(Int(endpoint.probability * 10_000 + 0.5)) / 100
            text += "endpoint  \(endpoint.address):\(endpoint.port)  \(share) %" + (endpoint.pod.map { "  pod \($0)" } ?? "") + (endpoint.node.map { " on \($0)" } ?? "")
            text += endpoint.masqueraded ? "  masqueraded\n" : "  source kept\n"
            if let policy = endpoint.policy { text += "policy    \(policy.isAllowed ? "allowed" : "REFUSED"): \(policy.words)\n" }
        }
        if let policy = result.policy { text += "policy    \(policy.isAllowed ? "allowed" : "REFUSED"): \(policy.words)\n" }
        return text
    }

    private static func rules(_ result: TraceResult) -> String {
        result.path.isEmpty ? "rules     none of kube-proxy's matched\n" : result.path.enumerated().map { "\($0 == 0 ? "rules     " : "          ")\($1)\n" }.joined()
    }
}
