import HairpinWire

/// Gives Services their virtual addresses and node ports, as the API server's allocators do (pkg/registry/core/service/storage/alloc.go, .../ipallocator, .../portallocator):
/// those asked for first, then the others from the upper part of the range, so that small numbers stay free for people to ask for.
struct ServiceAllocator {
    let configuration: ClusterConfiguration
    private var addresses: [IPv4Address: ObjectKey] = [:]
    /// A number has one owner, whatever the protocol.
    private var nodePorts: [UInt16: ObjectKey] = [:]

    init(configuration: ClusterConfiguration) { self.configuration = configuration }

    /// What Services that are there have stays theirs.
    init(configuration: ClusterConfiguration, taken: [PlannedService]) {
        self.init(configuration: configuration)
        for service in taken {
            if let address = service.clusterAddress { addresses[address] = service.key }
            for port in service.ports { if let number = port.nodePort { nodePorts[number] = service.key } }
            if let number = service.healthCheckNodePort { nodePorts[number] = service.key }
        }
    }

    mutating func allocate(_ services: [Service]) throws(InputError) -> [PlannedService] {
        var result = services.map { PlannedService(service: $0, clusterAddress: nil, ports: $0.ports) }
        // Of each Service, the node port of each port number: 53 of TCP and 53 of UDP share theirs.
        var shared = [[UInt16: UInt16]](repeating: [:], count: result.count)
        for index in result.indices {
            let service = result[index].service
            if case .given(let address) = service.clusterAddress, service.kind != .externalName {
                try reserve(address, for: service)
                result[index].clusterAddress = address
            }
            guard service.kind == .nodePort || service.kind == .loadBalancer else { continue }
            for (place, port) in service.ports.enumerated() {
                guard let number = port.nodePort, shared[index][port.port] != number else { continue }
                try reserve(nodePort: number, for: service, port: place)
                if shared[index][port.port] == nil { shared[index][port.port] = number }
            }
            if let number = service.healthCheckNodePort {
                try reserve(healthCheck: number, for: service)
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
                let port = result[index].ports[place]
                if shared[index][port.port] == nil {
                    shared[index][port.port] = try freeNodePort(for: service, "\(port.port)/\(port.proto.rawValue)", "failed to allocate a nodePort")
                }
                result[index].ports[place].nodePort = shared[index][port.port]
            }
        }
        for index in result.indices where result[index].healthCheckNodePort == nil {
            let service = result[index].service
            guard service.kind == .loadBalancer, service.externalTrafficPolicy == .local else { continue }
            result[index].healthCheckNodePort = try freeNodePort(for: service, "0/TCP", "failed to allocate a HealthCheck NodePort 0")
        }
        return result
    }

    // MARK: Addresses

    private mutating func reserve(_ address: IPv4Address, for service: Service) throws(InputError) {
        let range = configuration.serviceCIDR
        func fail(_ problem: String, _ fix: String) -> InputError {
            invalid(service, "spec.clusterIPs", service.clusterAddressLine, "[\"\(address)\"]: failed to allocate IP \(address): \(problem)", fix)
        }
        let choice = "Choose an address in \(range), or leave clusterIP out."
        guard range.contains(address) else { throw fail("the provided network does not match the current range", choice) }
        guard address != range.network, address != range.broadcast else {
            throw fail("the provided IP (\(address)) is not in the valid range. The range of valid IPs is \(range)", choice)
        }
        if let owner = addresses[address] { throw fail("provided IP is already allocated", "It belongs to \(owner). Choose another address, or leave clusterIP out.") }
        addresses[address] = service.metadata.key
    }

    /// From the upper band: above the first 16 to 256 addresses (a sixteenth of the range), which are kept for static use.
    private mutating func freeAddress(for service: Service) throws(InputError) -> IPv4Address {
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
        throw unable(service, "failed to allocate a serviceIP: range is full", fix: "Use a larger serviceCIDR than \(range).")
    }

    // MARK: Node ports

    private mutating func reserve(nodePort number: UInt16, for service: Service, port place: Int) throws(InputError) {
        guard let (problem, fix) = objection(to: number) else {
            nodePorts[number] = service.metadata.key
            return
        }
        throw invalid(service, "spec.ports[\(place)].nodePort", service.ports[place].nodePortLine, "\(number): \(problem)", "\(fix) or leave nodePort out.")
    }

    private mutating func reserve(healthCheck number: UInt16, for service: Service) throws(InputError) {
        guard let (problem, fix) = objection(to: number) else {
            nodePorts[number] = service.metadata.key
            return
        }
        throw unable(service, "failed to allocate requested HealthCheck NodePort \(number): \(problem)", fix: "\(fix) or leave healthCheckNodePort out.")
    }

    private func objection(to number: UInt16) -> (problem: String, fix: String)? {
        let range = configuration.nodePorts
        guard range.contains(number) else {
            let problem = "provided port is not in the valid range. The range of valid ports is \(range.lowerBound)-\(range.upperBound)"
            return (problem, "Choose a number in that range,")
        }
        return nodePorts[number].map { ("provided port is already allocated", "It belongs to \($0). Choose another number,") }
    }

    private mutating func freeNodePort(for service: Service, _ port: String, _ failure: String) throws(InputError) -> UInt16 {
        let range = configuration.nodePorts
        let band = min(max(16, range.count / 32), 128)
        let usable = range.count - band
        let start = Int(StableName.hash64("nodePort/\(service.metadata.key)/\(port)") % UInt64(usable))
        for step in 0..<usable {
            let number = range.lowerBound + UInt16(band + (start + step) % usable)
            guard nodePorts[number] == nil else { continue }
            nodePorts[number] = service.metadata.key
            return number
        }
        throw unable(service, "\(failure): range is full", fix: "Use fewer Services of type NodePort.")
    }

    // MARK: Errors

    private func invalid(_ service: Service, _ path: String, _ line: Int?, _ problem: String, _ fix: String) -> InputError {
        let reason = InputError(file: service.metadata.file, line: line ?? service.metadata.line, path: path, problem: "Invalid value: \(problem)", fix: fix)
        return InputError(subject: "The Service \"\(service.metadata.name)\" is invalid", reason: reason)
    }
    /// What is nobody's field's fault.
    private func unable(_ service: Service, _ problem: String, fix: String) -> InputError {
        let reason = InputError(file: service.metadata.file, line: service.metadata.line, problem: problem, fix: fix)
        return InputError(subject: "Service \"\(service.metadata.name)\": Internal error occurred", reason: reason)
    }
}
