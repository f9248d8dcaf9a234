/// What ipvsadm(8) 1.31 lists, numeric.
public enum IPVSListing {
    /// What `--stats` and `--rate` have of a service or a server, the rates per second.
    public struct Figures: Sendable {
        public var connections: UInt64 = 0, inPackets: UInt64 = 0, outPackets: UInt64 = 0, inBytes: UInt64 = 0, outBytes: UInt64 = 0
        public init() {}
        var all: [UInt64] { [connections, inPackets, outPackets, inBytes, outBytes] }
    }
    public struct Server: Sendable {
        public var address: ServiceAddress
        public var port: UInt16
        public var weight: Int
        public var active = 0, inactive = 0
        public var figures = Figures()
        public init(address: ServiceAddress, port: UInt16, weight: Int) { (self.address, self.port, self.weight) = (address, port, weight) }
    }
    public struct Service: Sendable {
        public var proto: UInt8
        public var address: ServiceAddress
        public var port: UInt16
        public var scheduler: String
        /// "mh-port"
        public var flags: [String] = []
        public var persistenceSeconds: Int?
        public var servers: [Server]
        public var figures = Figures()
        public init(proto: UInt8, address: ServiceAddress, port: UInt16, scheduler: String, persistenceSeconds: Int?, servers: [Server]) {
            (self.proto, self.address, self.port, self.scheduler) = (proto, address, port, scheduler)
            (self.persistenceSeconds, self.servers) = (persistenceSeconds, servers)
        }
    }
    /// A connection or a template, with ports in their texts.
    public struct Connection: Sendable {
        public var proto: UInt8
        public var state: String
        public var remainingSeconds: Int
        public var source: String, virtual: String, destination: String
        public init(proto: UInt8, state: String, remainingSeconds: Int, source: String, virtual: String, destination: String) {
            (self.proto, self.state, self.remainingSeconds) = (proto, state, remainingSeconds)
            (self.source, self.virtual, self.destination) = (source, virtual, destination)
        }
    }

    private static let version = "IP Virtual Server version 1.2.1 (size=4096)"

    /// `-Ln`. In the order of protocol, address and port, servers too (ipvsadm sorts them; the kernel's own order is another).
    public static func lines(_ services: [Service]) -> [String] {
        var result = [version, "Prot LocalAddress:Port Scheduler Flags", "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"]
        for service in sorted(services) {
            let persistent = service.persistenceSeconds.map { " persistent \($0)" } ?? ""
            let flags = service.flags.isEmpty ? "" : " (\(service.flags.joined(separator: ",")))"
            result.append("\(name(service)) \(service.scheduler)\(flags)\(persistent)")
            for server in sorted(service.servers) {
                result.append("  -> \(name(server)) Masq    \(padded(String(server.weight), 6)) \(padded(String(server.active), 10)) \(padded(String(server.inactive), 10))")
            }
        }
        return result
    }

    /// `-Ln --stats`, or `-Ln --rate` where the figures are rates.
    public static func lines(figures services: [Service], areRates: Bool, isExact: Bool) -> [String] {
        let titles = areRates ? ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"] : ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]
        var result = [version, padded("Prot LocalAddress:Port", 33) + titles.map { " " + filled($0, 8) }.joined(), "  -> RemoteAddress:Port"]
        for service in sorted(services) {
            result.append(padded(name(service), 33) + service.figures.all.map { large($0, isExact) }.joined())
            for server in sorted(service.servers) { result.append("  -> \(name(server))" + server.figures.all.map { large($0, isExact) }.joined()) }
        }
        return result
    }

    /// `-Lnc`
    public static func lines(connections: [Connection]) -> [String] {
        let title = "pro expire \(padded("state", 11)) \(padded("source", 18)) \(padded("virtual", 18)) destination"
        return ["IPVS connection entries", title]
            + connections.map { connection in
                func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
                let expire = "\(two(connection.remainingSeconds / 60)):\(two(connection.remainingSeconds % 60))"
                let ends = "\(padded(connection.source, 18)) \(padded(connection.virtual, 18)) \(connection.destination)"
                return "\(padded(protocolName(connection.proto), 3)) \(padded(expire, 6)) \(padded(connection.state, 11)) \(ends)"
            }
    }

    private static func sorted(_ services: [Service]) -> [Service] { services.sorted { ($0.proto, $0.address, $0.port) < ($1.proto, $1.address, $1.port) } }
    private static func sorted(_ servers: [Server]) -> [Server] { servers.sorted { ($0.address, $0.port) < ($1.address, $1.port) } }
    private static func name(_ service: Service) -> String { "\(protocolName(service.proto))  \(service.address.with(port: service.port))" }
    private static func name(_ server: Server) -> String { padded(server.address.with(port: server.port), 28) }
    private static func protocolName(_ proto: UInt8) -> String { proto == 17 ? "UDP" : proto == 132 ? "SCTP" : "TCP" }

    /// `print_largenum`
    private static func large(_ number: UInt64, _ isExact: Bool) -> String {
        if isExact || number < 100_000_000 { return (String(number).count > 8 ? " " : "") + filled(String(number), 9) }
        for (unit, divisor, limit) in [("K", 1000, 1_000_000_000), ("M", 1_000_000, 100_000_000_000), ("G", 1_000_000_000, 100_000_000_000_000)] as [(String, UInt64, UInt64)]
        where number < limit { return filled(String(number / divisor), 8) + unit }
        return filled(String(number / 1_000_000_000_000), 8) + "T"
    }

    private static func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
    private static func filled(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
}
