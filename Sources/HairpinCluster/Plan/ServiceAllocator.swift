import HairpinWire

/// Gives Services their virtual addresses and node ports, as the API server's allocators do: those asked for first, then the others from the upper
/// part of the range, so that small numbers stay free for people to ask for.
struct ServiceAllocator {
    let configuration: ClusterConfiguration
    private var addresses: [IPv4Address: ObjectKey] = [:]
    private var nodePorts: [String: ObjectKey] = [:]

    init(configuration: ClusterConfiguration) { self.configuration = configuration }

    /// What Services that are there have stays theirs.
    init(configuration: ClusterConfiguration, taken: [PlannedService]) {
        self.init(configuration: configuration)
        for service in taken {
            if let address = service.clusterAddress { addresses[address] = service.key }
            for port in service.ports { if let number = port.nodePort { nodePorts["\(number)/\(port.proto.rawValue)"] = service.key } }
            if let number = service.healthCheckNodePort { nodePorts["\(number)/TCP"] = service.key }
        }
    }

    /// Why a Service gets none, for whoever wrote it in a file, and in the API server's words.
    struct Refusal: Error {
        var input: InputError
        /// "spec.clusterIPs: Invalid value: []string{"10.96.0.10"}: failed to allocate IP 10.96.0.10: provided IP is already allocated"
        var field: String
    }

    mutating func allocate(_ services: [Service]) throws(Refusal) -> [PlannedService] {
        var result = services.map { PlannedService(service: $0, clusterAddress: nil, ports: $0.ports) }
        for index in result.indices {
            let service = result[index].service
            if case .given(let address) = service.clusterAddress, service.kind != .externalName {
                try reserve(address, for: service)
                result[index].clusterAddress = address
            }
            guard service.kind == .nodePort || service.kind == .loadBalancer else { continue }
            for (number, port) in service.ports.enumerated() where port.nodePort != nil { try reserve(nodePort: port, number, for: service) }
            if let number = service.healthCheckNodePort {
                var port = ServicePort(name: "", port: number, target: .number(number), proto: .tcp, nodePort: number)
                port.nodePortLine = nil
                try reserve(nodePort: port, nil, for: service)
                result[index].healthCheckNodePort = number
            }
        }
        for index in result.indices {
            let service = result[index].service
            if service.kind != .externalName, service.clusterAddress == .unassigned {
                result[index].clusterAddress = try freeAddress(for: service)
            }
            guard service.kind == .nodePort || service.kind == .loadBalancer, service.source["spec"]?["allocateLoadBalancerNodePorts"] != .bool(false) else { continue }
            for place in result[index].ports.indices where result[index].ports[place].nodePort == nil {
                result[index].ports[place].nodePort = try freeNodePort(for: service, result[index].ports[place])
            }
        }
        for index in result.indices where result[index].healthCheckNodePort == nil {
            let service = result[index].service
            guard service.kind == .loadBalancer, service.externalTrafficPolicy == .local else { continue }
            result[index].healthCheckNodePort = try freeNodePort(for: service, ServicePort(name: "", port: 0, target: .number(0), proto: .tcp, nodePort: nil))
        }
        return result
    }

    /// - Parameter field: Path and value as the API server writes them: `spec.clusterIPs: Invalid value: []string{"10.96.0.10"}`.
    private func invalid(_ service: Service, path: String, line: Int?, value: String, problem: String, fix: String, field: String) -> Refusal {
        let input = InputError(
            file: service.metadata.file, line: line ?? service.metadata.line, path: path, value: value,
            problem: "is invalid for Service \"\(service.metadata.name)\": \(problem)", fix: fix)
        return Refusal(input: input, field: "\(field): \(problem)")
    }

    private mutating func reserve(_ address: IPv4Address, for service: Service) throws(Refusal) {
        let range = configuration.serviceCIDR
        func fail(_ problem: String, _ fix: String) -> Refusal {
            invalid(
                service, path: "spec.clusterIP", line: service.clusterAddressLine, value: address.description, problem: "failed to allocate IP \(address): \(problem)",
                fix: fix, field: "spec.clusterIPs: Invalid value: []string{\"\(address)\"}")
        }
        guard range.contains(address), address != range.network, address != range.broadcast else {
            throw fail(
                "the provided IP (\(address)) is not in the valid range. The range of valid IPs is \(range)", "Choose an address in \(range), or leave clusterIP out.")
        }
        if let owner = addresses[address] { throw fail("provided IP is already allocated", "It belongs to \(owner). Choose another address, or leave clusterIP out.") }
        addresses[address] = service.metadata.key
    }

    /// From the upper band: above the first 16 to 256 addresses (a sixteenth of the range), which are kept for static use.
    private mutating func freeAddress(for service: Service) throws(Refusal) -> IPv4Address {
        let range = configuration.serviceCIDR
        let size = 1 << (32 - range.length)
        let band = min(max(16, size / 16), 256)
        let usable = size - 1 - band
        let start = Int(StableName.hash64("clusterIP/\(service.metadata.key)") % UInt64(usable))
        for step in 0..<usable {
            let address = range.network.advanced(by: band + (start + step) % usable)
            if addresses[address] == nil {
                addresses[address] = service.metadata.key
                return address
            }
        }
        for offset in 1..<band where addresses[range.network.advanced(by: offset)] == nil && range.network.advanced(by: offset) != configuration.dnsAddress {
            addresses[range.network.advanced(by: offset)] = service.metadata.key
            return range.network.advanced(by: offset)
        }
        throw invalid(
            service, path: "spec.clusterIP", line: nil, value: "", problem: "failed to allocate a serviceIP: range is full",
            fix: "Use a larger serviceCIDR than \(range).", field: "spec.clusterIPs: Invalid value: []string(nil)")
    }

    private mutating func reserve(nodePort port: ServicePort, _ place: Int?, for service: Service) throws(Refusal) {
        guard let number = port.nodePort else { return }
        func fail(_ problem: String, _ fix: String) -> Refusal {
            let field = place.map { "spec.ports[\($0)].nodePort" } ?? "spec.healthCheckNodePort"
            return invalid(
                service, path: "spec.ports.nodePort", line: port.nodePortLine, value: String(number), problem: problem, fix: fix, field: "\(field): Invalid value: \(number)")
        }
        let range = configuration.nodePorts
        guard range.contains(number) else {
            throw fail(
                "provided port is not in the valid range. The range of valid ports is \(range.lowerBound)-\(range.upperBound)",
                "Choose a number in that range, or leave nodePort out.")
        }
        let key = "\(number)/\(port.proto.rawValue)"
        if let owner = nodePorts[key] { throw fail("provided port is already allocated", "It belongs to \(owner). Choose another number, or leave nodePort out.") }
        nodePorts[key] = service.metadata.key
    }

    private mutating func freeNodePort(for service: Service, _ port: ServicePort) throws(Refusal) -> UInt16 {
        let range = configuration.nodePorts
        let band = min(max(16, range.count / 32), 128)
        let usable = range.count - band
        let start = Int(StableName.hash64("nodePort/\(service.metadata.key)/\(port.port)/\(port.proto.rawValue)") % UInt64(usable))
        for step in 0..<usable {
            let number = range.lowerBound + UInt16(band + (start + step) % usable)
            // One number for one Service, whatever the protocol: what people see stays unambiguous.
            guard !PortProtocol.allCases.contains(where: { nodePorts["\(number)/\($0.rawValue)"] != nil }) else { continue }
            nodePorts["\(number)/\(port.proto.rawValue)"] = service.metadata.key
            return number
        }
        throw invalid(
            service, path: "spec.ports.nodePort", line: nil, value: "", problem: "failed to allocate a nodePort: range is full",
            fix: "Use fewer Services of type NodePort.", field: "spec.ports[0].nodePort: Invalid value: 0")
    }
}
