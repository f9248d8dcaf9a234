import HairpinDatapath
import HairpinEngine
import HairpinPrograms
import HairpinProxy
import HairpinTopology
import HairpinTransport
import HairpinWire

// ip(8), iptables(8), sysctl(8) and arping(8) reach the namespace through these calls.
extension Process {
    func interfaces() -> [InterfaceInformation] {
        kernel.process.interfaceStates(namespace: namespace).enumerated().map { position, state in
            InterfaceInformation(
                index: position + 1, name: state.name, kind: state.kind, peerIndex: numberInNamespace(state.peer), mac: state.mac, mtu: state.mtu, isUp: state.isUp,
                master: state.master, addresses: state.addresses)
        }
    }

    /// Interfaces are numbered within their namespace: `lo` is 1 everywhere.
    private func numberInNamespace(_ index: InterfaceIndex) -> Int? {
        guard index != .none else { return nil }
        let states = kernel.process.interfaceStates(namespace: kernel.process.namespaceOfInterface(index))
        return states.firstIndex { $0.index == index }.map { $0 + 1 }
    }

    func routes() -> [String] { kernel.process.routeStates(namespace: namespace).map(\.line) }

    func neighbours() -> [String] {
        kernel.process.neighbourStates(namespace: namespace).map { entry in
            "\(entry.address) dev \(entry.device)" + (entry.mac.map { " lladdr \($0)" } ?? "") + " \(entry.state.name)"
        }
    }

    func sysctl(_ name: String) -> String? {
        kernel.process.sysctl(name, namespace: namespace) ?? TransportSysctls.value(name, kernel.process, namespace)
    }

    func iptablesSave() -> [String] { kernel.process.rules(namespace: namespace) }

    func ipsetSave() -> [String] {
        kernel.process.ruleSet(namespace: namespace).sets.lines(now: now.nanoseconds) + (kernel.process.services(namespace: namespace)?.ipsets() ?? [])
    }
    func nftRuleset() -> [JSON] { kernel.process.nftables(namespace: namespace) }

    func virtualServerListing(_ view: VirtualServerView) -> [String] {
        func listed(_ service: VirtualService) -> IPVSListing.Service {
            var result = IPVSListing.Service(
                proto: service.proto.rawValue, address: ServiceAddress(service.address), port: service.port, scheduler: service.scheduler.rawValue,
                persistenceSeconds: service.persistence, servers: service.servers.map { .init(address: ServiceAddress($0.address), port: $0.port, weight: $0.weight) })
            if service.flags.contains(.fallback) { result.flags.append(service.scheduler.rawValue + "-fallback") }
            if service.flags.contains(.port) { result.flags.append(service.scheduler.rawValue + "-port") }
            return result
        }
        func figures(_ counters: VirtualServerCounters) -> IPVSListing.Figures {
            var result = IPVSListing.Figures()
            (result.connections, result.inPackets, result.outPackets) = (counters.connections, counters.inPackets, counters.outPackets)
            (result.inBytes, result.outBytes) = (counters.inBytes, counters.outBytes)
            return result
        }
        switch view {
        case .services:
            return IPVSListing.lines(
                kernel.process.virtualServiceLoads(namespace: namespace).map { service, loads in
                    var result = listed(service)
                    for index in loads.indices { (result.servers[index].active, result.servers[index].inactive) = loads[index] }
                    return result
                })
        case .connections:
            return IPVSListing.lines(
                connections: kernel.process.virtualConnections(namespace: namespace).map {
                    IPVSListing.Connection(
                        proto: $0.proto.rawValue, state: $0.state, remainingSeconds: $0.remaining, source: "\($0.client):\($0.clientPort)", virtual: "\($0.address):\($0.port)",
                        destination: "\($0.server):\($0.serverPort)")
                })
        case .figures(let areRates, let isExact):
            return IPVSListing.lines(
                figures: kernel.process.virtualServiceStatistics(namespace: namespace).map { statistics in
                    var result = listed(statistics.service)
                    result.figures = figures(areRates ? statistics.total.rates : statistics.total.counters)
                    for (index, line) in statistics.servers.enumerated() { result.servers[index].figures = figures(areRates ? line.rates : line.counters) }
                    return result
                }, areRates: areRates, isExact: isExact)
        }
    }

    func connections() -> [ConnectionRecord] { kernel.process.connectionRecords(namespace: namespace) }
    func removeConnections(_ isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord] {
        kernel.process.removeConnections(namespace: namespace, where: isDoomed)
    }
    func connectionStatistics() -> ConnectionStatistics { kernel.process.connectionStatistics(namespace: namespace) }
    func connectionEvents() -> [ConnectionEvent] { kernel.takeConnectionEvents(self) }

    func transmit(_ frame: [UInt8], device: String) throws(Errno) {
        guard let interface = kernel.process.findInterface(device, namespace: namespace) else { throw Errno(19) }  // ENODEV
        guard frame.count >= EthernetHeader.byteCount, frame.count <= 65536 else { throw .messageTooLong }
        kernel.process.transmitRaw(frame, on: interface)
        kernel.process.runSoftirqs()
    }

    func receivedARP(device: String) -> [[UInt8]] {
        guard let interface = kernel.process.findInterface(device, namespace: namespace) else { return [] }
        return kernel.takeARP(self, interface: interface)
    }

    func configure(_ words: [String]) throws(ConfigurationError) {
        try NamespaceConfiguration(process: kernel.process, namespace: namespace).apply(words)
        kernel.process.runSoftirqs()
    }
}

extension RouteState {
    /// As `ip route` prints it.
    public var line: String {
        var text = destination.length == 0 ? "default" : destination.length == 32 ? "\(destination.network)" : "\(destination)"
        if let gateway { text += " via \(gateway)" }
        text += " dev \(device)"
        if isKernel { text += " proto kernel" }
        if gateway == nil { text += " scope link" }
        if let source { text += " src \(source)" }
        if isOnLink { text += " onlink" }
        return text
    }
}

/// The commands that change a namespace: `ip addr`, `ip link`, `ip route`, `ip neigh`, `iptables`, `sysctl`.
struct NamespaceConfiguration {
    let process: LogicalProcess
    let namespace: NamespaceIndex

    func apply(_ words: [String]) throws(ConfigurationError) {
        guard let command = words.first else { throw ConfigurationError("no command", status: 255) }
        switch command {
        case "iptables":
            do {
                try process.applyRuleCommand(words, namespace: namespace)
            } catch {
                throw ConfigurationError("iptables: \(error.reason)", status: 2)
            }
        case "sysctl":
            for word in words.dropFirst() where word.contains("=") {
                let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { throw ConfigurationError("sysctl: malformed setting '\(word)'", status: 255) }
                switch TransportSysctls.set(parts[0], parts[1], process, namespace) {
                case .done: continue
                case .noSuchValue: throw ConfigurationError("sysctl: setting key \"\(parts[0])\": No such file or directory", status: 255)
                case .invalid: throw ConfigurationError("sysctl: setting key \"\(parts[0])\": Invalid argument", status: 255)
                case .unknown: break
                }
                guard process.setSysctl(parts[0], parts[1], namespace: namespace) else {
                    throw ConfigurationError(
                        "sysctl: cannot stat /proc/sys/\(parts[0].split(separator: ".").joined(separator: "/")): No such file or directory", status: 255)
                }
            }
        case "ip": try ip(words.dropFirst().filter { !$0.hasPrefix("-") }[...])
        default: throw ConfigurationError("\(command): not modelled", status: 1)
        }
    }

    private func ip(_ words: ArraySlice<String>) throws(ConfigurationError) {
        var words = words
        guard let object = words.popFirst() else { throw ConfigurationError("ip: an object is missing", status: 255) }
        let action = words.popFirst() ?? "show"
        switch (object, action) {
        case ("addr", _), ("address", _), ("a", _): try address(action, words)
        case ("link", "set"), ("l", "set"): try link(words)
        case ("route", _), ("r", _): try route(action, words)
        case ("neigh", _), ("neighbor", _), ("neighbour", _), ("n", _): try neighbour(action, words)
        default: throw ConfigurationError("ip: '\(object) \(action)' is not modelled", status: 255)
        }
    }

    private func device(_ name: String) throws(ConfigurationError) -> InterfaceIndex {
        guard let index = process.findInterface(name, namespace: namespace) else { throw ConfigurationError("Cannot find device \"\(name)\"", status: 1) }
        return index
    }

    /// The value behind a keyword.
    private func value(_ keyword: String, _ words: ArraySlice<String>) -> String? {
        guard let at = words.firstIndex(of: keyword), words.index(after: at) < words.endIndex else { return nil }
        return words[words.index(after: at)]
    }

    private func address(_ action: String, _ words: ArraySlice<String>) throws(ConfigurationError) {
        let index = try device(value("dev", words) ?? words.last ?? "")
        switch action {
        case "flush":
            for address in process.interfaceStates(namespace: namespace).first(where: { $0.index == index })?.addresses ?? [] {
                process.removeAddress(address, from: index)
            }
        case "add", "del", "delete", "replace":
            guard let text = words.first, let address = IPv4InterfaceAddress(text) ?? IPv4Address(text).map({ IPv4InterfaceAddress($0, prefixLength: 32) }) else {
                throw ConfigurationError("Error: any valid prefix is expected rather than \"\(words.first ?? "")\".", status: 1)
            }
            let exists = process.interfaceStates(namespace: namespace).first { $0.index == index }?.addresses.contains(address) ?? false
            if action == "add" || action == "replace" {
                if exists {
                    if action == "replace" { return }
                    throw ConfigurationError("RTNETLINK answers: File exists", status: 2)
                }
                process.addAddress(address, on: index)
            } else if !process.removeAddress(address, from: index) {
                throw ConfigurationError("RTNETLINK answers: Cannot assign requested address", status: 2)
            }
        default: throw ConfigurationError("Command \"\(action)\" is unknown, try \"ip address help\".", status: 255)
        }
    }

    private func link(_ words: ArraySlice<String>) throws(ConfigurationError) {
        var rest = words
        if rest.first == "dev" { rest.removeFirst() }
        let index = try device(rest.popFirst() ?? "")
        while let word = rest.popFirst() {
            switch word {
            case "up": process.setUp(true, index)
            case "down": process.setUp(false, index)
            case "address":
                guard let mac = rest.popFirst().flatMap({ MACAddress($0) }) else { throw ConfigurationError("\"address\" is not a valid lladdr", status: 1) }
                process.setMAC(mac, on: index)
            case "mtu":
                guard let mtu = rest.popFirst().flatMap({ Int($0) }), 68...65536 ~= mtu else {
                    throw ConfigurationError("Error: mtu less than device minimum.", status: 2)
                }
                process.setMTU(mtu, index)
            default: throw ConfigurationError("ip: link set \(word) is not modelled", status: 255)
            }
        }
    }

    private func route(_ action: String, _ words: ArraySlice<String>) throws(ConfigurationError) {
        guard let route = RouteDescription(words.joined(separator: " ")) ?? routeThroughGateway(words) else {
            throw ConfigurationError("Error: any valid prefix is expected rather than \"\(words.first ?? "")\".", status: 1)
        }
        switch action {
        case "add", "replace", "append":
            let known = process.routeStates(namespace: namespace).contains { $0.destination == route.destination }
            if known, action == "add" { throw ConfigurationError("RTNETLINK answers: File exists", status: 2) }
            if known, action == "replace" { process.removeRoute(route.destination, gateway: nil, device: nil, namespace: namespace) }
            _ = try device(route.device)
            process.addRoute(
                RouteState(destination: route.destination, gateway: route.gateway, device: route.device, source: route.source, isKernel: false, isOnLink: route.isOnLink),
                namespace: namespace)
        case "del", "delete":
            guard process.removeRoute(route.destination, gateway: route.gateway, device: route.device, namespace: namespace) else {
                throw ConfigurationError("RTNETLINK answers: No such process", status: 2)
            }
        default: throw ConfigurationError("Command \"\(action)\" is unknown, try \"ip route help\".", status: 255)
        }
    }

    /// `ip route add 10.0.0.0/8 via 192.168.0.1`: the device is the one the gateway is on.
    private func routeThroughGateway(_ words: ArraySlice<String>) -> RouteDescription? {
        guard let gateway = value("via", words).flatMap({ IPv4Address($0) }),
            let on = process.routeStates(namespace: namespace).last(where: { $0.gateway == nil && $0.destination.contains(gateway) })
        else {
            // `ip route del PREFIX` names no device at all.
            guard let first = words.first,
                let known = process.routeStates(namespace: namespace).first(where: { "\($0.destination)" == first || first == "default" && $0.destination.length == 0 })
            else { return nil }
            return RouteDescription(destination: known.destination, gateway: known.gateway, device: known.device)
        }
        return RouteDescription(words.joined(separator: " ") + " dev \(on.device)")
    }

    private func neighbour(_ action: String, _ words: ArraySlice<String>) throws(ConfigurationError) {
        guard let address = words.first.flatMap({ IPv4Address($0) }), let name = value("dev", words) else {
            throw ConfigurationError("Device and destination are required arguments.", status: 255)
        }
        let index = try device(name)
        switch action {
        case "add", "replace":
            guard let mac = value("lladdr", words).flatMap({ MACAddress($0) }) else { throw ConfigurationError("\"lladdr\" is missing", status: 255) }
            process.addPermanentNeighbour(address, mac: mac, device: index)
        default: throw ConfigurationError("ip: neigh \(action) is not modelled", status: 255)
        }
    }
}
