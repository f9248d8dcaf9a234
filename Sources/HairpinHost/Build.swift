import HairpinDatapath
import HairpinEngine
import HairpinTopology
import HairpinTransport
import HairpinWire

extension Simulation {
    /// Makes a logical process per node (with its pods), switch and outside machine, and joins them.
    func build(_ topology: Topology) throws(TopologyError) {
        func fail(_ host: String, _ problem: String, unsupported: Bool = false) -> TopologyError {
            TopologyError(host: host, problem: problem, isUnsupported: unsupported)
        }
        let hosts = topology.hosts
        var groups: [String: Int] = [:]
        // Positions in `hosts`.
        var members: [[Int]] = []
        for (position, host) in hosts.enumerated() where host.kind != .pod {
            let group = configuration.sharesProcessor ? 0 : members.count
            guard groups.updateValue(group, forKey: host.name) == nil else { throw fail(host.name, "there are two hosts of this name") }
            if group == members.count { members.append([position]) } else { members[group].append(position) }
        }
        for (position, host) in hosts.enumerated() where host.kind == .pod {
            guard let node = host.node, let group = groups[node] else { throw fail(host.name, "the pod's node \(host.node ?? "(none)") does not exist") }
            members[group].append(position)
        }
        places.reserveCapacity(hosts.count)
        for (number, group) in members.enumerated() {
            var size = (interfaces: 0, bridges: 0)
            for position in group {
                let interfaces = hosts[position].interfaces
                size.interfaces += interfaces.count + (interfaces.contains { $0.kind.isLoopback } ? 0 : 1)
                size.bridges += interfaces.count { $0.kind.isBridge }
            }
            let kernel = NodeKernel(
                number: number, interfaceCapacity: size.interfaces, bridgeCapacity: size.bridges, namespaceCapacity: group.count, configuration: configuration)
            kernels.append(kernel)
            for position in group { try makeHost(hosts[position], in: kernel, number: number) }
        }
        try connect(topology)
        for host in topology.hosts { try configure(host) }
    }

    private func makeHost(_ host: HostDescription, in kernel: NodeKernel, number: Int) throws(TopologyError) {
        let namespace = kernel.addNamespace(host.name)
        guard places.updateValue((number, namespace), forKey: host.name) == nil else {
            throw TopologyError(host: host.name, problem: "there are two hosts of this name", isUnsupported: false)
        }
        let process = kernel.process!
        if !host.interfaces.contains(where: { $0.kind.isLoopback }) { process.makeLoopback(namespace) }
        for interface in host.interfaces {
            // ETH_MIN_MTU, and what a frame has room for.
            guard 68...65536 ~= interface.mtu else {
                throw TopologyError(host: host.name, problem: "\(interface.name): an MTU of \(interface.mtu) is not between 68 and 65536", isUnsupported: false)
            }
            let index: InterfaceIndex
            switch interface.kind {
            case .loopback: index = process.makeLoopback(namespace, mtu: interface.mtu)
            case .bridge(let ageing): index = process.makeBridge(namespace, name: interface.name, mac: interface.mac, mtu: interface.mtu, ageing: ageing)
            case .veth: index = process.makeVeth(namespace, name: interface.name, mac: interface.mac, mtu: interface.mtu)
            case .dummy: index = process.makeDummy(namespace, name: interface.name, mac: interface.mac, mtu: interface.mtu)
            case .vxlan: throw TopologyError(host: host.name, problem: "\(interface.name): VXLAN is not modelled yet", isUnsupported: true)
            }
            for address in interface.addresses { process.addAddress(address, on: index, withRoute: false) }
        }
        // A node's ports have one and the same bridge.
        var found: (name: String, bridge: InterfaceIndex)?
        for interface in host.interfaces {
            guard let master = interface.master else { continue }
            guard let port = process.findInterface(interface.name, namespace: namespace),
                let bridge = found?.name == master ? found?.bridge : process.findInterface(master, namespace: namespace)
            else {
                throw TopologyError(host: host.name, problem: "\(interface.name): its bridge \(master) does not exist", isUnsupported: false)
            }
            guard process.isBridge(bridge) else {
                throw TopologyError(host: host.name, problem: "\(interface.name): \(master) is not a bridge", isUnsupported: false)
            }
            found = (master, bridge)
            process.enslave(port, to: bridge, hairpin: interface.hairpin)
        }
    }

    private func connect(_ topology: Topology) throws(TopologyError) {
        // Pods lead to their node, one after the other.
        var found: (name: String, place: (kernel: Int, namespace: NamespaceIndex)?) = ("", nil)
        for host in topology.hosts {
            guard let place = places[host.name] else { continue }
            for interface in host.interfaces {
                guard case .veth(let peerHost, let peerName) = interface.kind else { continue }
                if found.name != peerHost { found = (peerHost, places[peerHost]) }
                guard let far = found.place,
                    let index = kernels[place.kernel].process.findInterface(interface.name, namespace: place.namespace),
                    let peer = kernels[far.kernel].process.findInterface(peerName, namespace: far.namespace)
                else { throw TopologyError(host: host.name, problem: "\(interface.name): its peer \(peerHost)/\(peerName) does not exist", isUnsupported: false) }
                let process = kernels[place.kernel].process!
                var shape = CableShape(rate: interface.link.rate, delay: interface.link.delay, queueLimit: interface.link.queueLimit)
                if place.kernel == far.kernel {
                    process.connect(index, peer)
                    if shape.rate > 0 || shape.delay > .zero { process.shape(index, shape) }
                } else {
                    if shape.delay <= .zero { shape.delay = configuration.defaultCableDelay }
                    process.connect(index, toProcess: far.kernel, interface: peer, shape)
                    lookahead = min(lookahead, shape.delay)
                }
            }
        }
    }

    private func configure(_ host: HostDescription) throws(TopologyError) {
        guard let place = places[host.name] else { return }
        let process = kernels[place.kernel].process!
        for route in host.routes {
            let state = RouteState(
                destination: route.destination, gateway: route.gateway, device: route.device, source: route.source, isKernel: route.isKernel, isOnLink: route.isOnLink)
            guard process.addRoute(state, namespace: place.namespace) else {
                throw TopologyError(host: host.name, problem: "route \(route.destination): no device \(route.device)", isUnsupported: false)
            }
        }
        for neighbour in host.neighbours {
            guard let device = process.findInterface(neighbour.device, namespace: place.namespace) else { continue }
            process.addPermanentNeighbour(neighbour.address, mac: neighbour.mac, device: device)
        }
        for (name, value) in host.sysctls.sorted(by: { $0.key < $1.key }) where TransportSysctls.set(name, value, process, place.namespace) != .done {
            process.setSysctl(name, value, namespace: place.namespace)
        }
        if !host.iptables.isEmpty {
            do {
                try process.setRules(host.iptables, namespace: place.namespace)
            } catch {
                throw TopologyError(host: host.name, problem: "rules, \(error)", isUnsupported: true)
            }
        }
        if let services = host.services { process.setServices(services, namespace: place.namespace) }
        if !host.virtualServers.isEmpty { setVirtualServers(host.virtualServers, on: host.name) }
    }
}

extension InterfaceDescription.Kind {
    fileprivate var isLoopback: Bool { if case .loopback = self { true } else { false } }
    fileprivate var isBridge: Bool { if case .bridge = self { true } else { false } }
}
