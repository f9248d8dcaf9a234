import HairpinProxy
import HairpinWire

// Packets and the table of Services: what kube-proxy's chains would have said, asked of one hash table.

extension RuleProgram {
    /// A jump to a chain the table stands for; nil if the packet comes back from it.
    @inline(never)
    mutating func consult<E: NetfilterEnvironment>(
        _ chain: ServiceChain, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders, _ env: inout E
    ) -> RuleVerdict? {
        guard let services, let flow = ServiceFlow(packet, env) else { return nil }
        if let serviceRules { walked &+= UInt64(serviceRules.dispatch(chain, flow, in: services)) }
        switch chain {
        case .ipvsMarks:
            if flow.source.isLoopback { return nil }
            if case .mark = services.translation(chain, flow) { frame.pointee.mark |= ProxySettings.masqueradeMark }
            if flow.isDestinationLocal, case .mark = services.translation(.ipvsNodePortMarks, flow) { frame.pointee.mark |= ProxySettings.masqueradeMark }
            return nil
        case .translate, .ipvsNodePortMarks:
            return translate(services, flow, frame, packet, &env)
        default:
            switch services.verdict(chain, flow) {
            case .none: return nil
            case .accept: return .accept
            case .drop: return .drop
            case .reject: return .reject(.icmp(code: ICMPv4.portUnreachable))
            }
        }
    }

    /// Chooses an endpoint and says what to translate to.
    mutating func translate<E: NetfilterEnvironment>(
        _ services: ServiceTable, _ flow: ServiceFlow, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders, _ env: inout E
    ) -> RuleVerdict? {
        guard case .endpoints(let choice, let list, let isMarked) = services.translate(flow), !list.isEmpty else { return nil }
        let now = env.now.nanoseconds
        let index = (choice.affinitySeconds == 0 ? nil : affinity.known(packet.source, choice, list, in: services, now: now))
            ?? choose(list, services.settings.mode, &env)
        if let serviceRules { walked &+= UInt64(serviceRules.balance(Int(choice.entry), list, index, isMarked: isMarked)) }
        let endpoint = services.endpoints[index]
        guard let address = endpoint.address.ipv4 else { return nil }
        if choice.affinitySeconds != 0 { affinity.remember(packet.source, choice, endpoint, now: now) }
        // An endpoint that is its own client is masqueraded, or it would answer itself past the translation.
        if isMarked || address.rawValue == packet.source { frame.pointee.mark |= ProxySettings.masqueradeMark }
        var range = TranslationRange(low: address.rawValue, high: address.rawValue, mapsAddress: true)
        range.ports = PortRange(low: endpoint.port, high: endpoint.port)
        return .translate(range, isSource: false)
    }

    /// iptables draws for one endpoint after the other (xt_statistic), nftables once (`numgen random`, `reciprocal_scale`).
    private func choose<E: NetfilterEnvironment>(_ list: Range<Int>, _ mode: ServiceProxyMode, _ env: inout E) -> Int {
        if list.count == 1 { return list.lowerBound }
        if mode == .nftables { return list.lowerBound + Int((UInt64(env.random32()) * UInt64(list.count)) >> 32) }
        for index in list.dropLast() where env.random32() & 0x7fff_ffff < ServiceRandom.threshold(oneIn: list.upperBound - index) { return index }
        return list.upperBound - 1
    }
}

/// xt_statistic's bounds for 1/n.
enum ServiceRandom {
    private static let known: [UInt32] = (0...1024).map { $0 < 2 ? 0x8000_0000 : UInt32(ServiceTable.threshold(oneIn: $0)) }
    static func threshold(oneIn count: Int) -> UInt32 { count < known.count ? known[count] : UInt32(ServiceTable.threshold(oneIn: count)) }
}

extension ServiceFlow {
    /// Nil for what has no ports.
    init?<E: NetfilterEnvironment>(_ packet: PacketHeaders, _ env: E) {
        guard packet.hasPorts else { return nil }
        self.init(
            source: ServiceAddress(IPv4Address(rawValue: packet.source)), destination: ServiceAddress(IPv4Address(rawValue: packet.destination)), proto: packet.proto,
            port: packet.destinationPort, isSourceLocal: env.isLocal(IPv4Address(rawValue: packet.source)),
            isDestinationLocal: env.isLocal(IPv4Address(rawValue: packet.destination)))
    }
}

// Tables of thousands of Services are larger than the caches. What will be read of them is asked for as soon as the packet is known, and comes while the
// connection is looked for and made.
extension Netfilter {
    /// The line of the destination's address, before the connection is looked for.
    @inline(__always)
    func prefetchService<E: NetfilterEnvironment>(_ packet: PacketHeaders, _ env: E) {
        services?.prefetchFrontend(ServiceAddress(IPv4Address(rawValue: packet.destination)), packet.destinationPort, packet.proto)
        guard hasVirtualServers else { return }
        env.prefetchIsLocal(IPv4Address(rawValue: packet.destination))
        virtualServers.prefetchService(packet)
    }

    /// What is behind it, if the connection is new.
    @inline(__always)
    mutating func prefetchEndpoints(_ packet: PacketHeaders) {
        if hasVirtualServers {
            virtualServers.prefetchScheduler(packet)
        } else {
            services?.prefetchEndpoints(ServiceAddress(IPv4Address(rawValue: packet.destination)), packet.destinationPort, packet.proto)
        }
    }
}

// nftables mode: base chains of kube-proxy's own table at the same hooks.
extension Netfilter {
    var hasServiceFilters: Bool { services?.settings.mode == .nftables }

    /// The filter chains at a hook; `isTranslated` for the one behind destination translation at LOCAL_OUT. Only new connections are asked about.
    @inline(never)
    mutating func filterServices<E: NetfilterEnvironment>(
        _ place: HookPlace, _ frame: FrameHandle, _ packet: PacketHeaders, _ pool: inout FramePool, _ env: inout E, isTranslated: Bool = false
    ) -> HookVerdict? {
        guard pool[frame].pointee.connectionInfo == .new, let services else { return nil }
        // cluster-ips-check looks at the address alone.
        let address = ServiceAddress(IPv4Address(rawValue: packet.destination))
        guard
            let flow = ServiceFlow(packet, env)
                ?? (isTranslated || place.hook == .forward
                    ? ServiceFlow(
                        source: ServiceAddress(IPv4Address(rawValue: packet.source)), destination: address, proto: packet.proto, port: 0, isSourceLocal: false,
                        isDestinationLocal: false) : nil)
        else { return nil }
        let chains: (ServiceChain, ServiceChain?)
        switch place.hook {
        case .prerouting: chains = (.firewall, nil)
        case .localIn: chains = (.nodePortEndpoints, .serviceEndpoints)
        case .forward: chains = (.serviceEndpoints, .unallocated)
        case .localOut: chains = isTranslated ? (.unallocated, nil) : (.serviceEndpoints, .firewall)
        case .postrouting: return nil
        }
        var verdict = services.verdict(chains.0, flow)
        if verdict == .none, let second = chains.1 { verdict = services.verdict(second, flow) }
        switch verdict {
        case .none, .accept: return nil
        case .drop: return .drop(.ruleDrop)
        case .reject: return .reject(.icmp(code: ICMPv4.portUnreachable))
        }
    }

    /// The nat chains at a hook: services, or masquerading.
    mutating func translateServices<E: NetfilterEnvironment>(
        _ place: HookPlace, _ handle: FrameHandle, _ packet: PacketHeaders, _ pool: inout FramePool, _ env: inout E
    ) -> RuleVerdict? {
        let frame = pool[handle]
        switch place.hook {
        case .prerouting, .localOut:
            guard let services, let flow = ServiceFlow(packet, env) else { return nil }
            return program.translate(services, flow, frame, packet, &env)
        case .postrouting:
            guard frame.pointee.mark & ProxySettings.masqueradeMark != 0 else { return nil }
            frame.pointee.mark ^= ProxySettings.masqueradeMark
            var range = TranslationRange(mapsAddress: true)
            range.isRandom = true
            return .masquerade(range)
        case .localIn, .forward: return nil
        }
    }
}

extension RuleSet {
    /// Whether an `iptables` command could change what kube-proxy's chains say: it names one, or all chains.
    static func touchesServices(_ command: String) -> Bool {
        let words = RuleTokens.split(command) ?? []
        let verbs = ["-A", "-I", "-D", "-R", "-F", "-X", "-E", "-N", "-P", "-Z", "-C"]
        guard let verb = words.firstIndex(where: { verbs.contains($0) || $0.hasPrefix("--") && $0.count > 4 && $0 != "--table" }) else { return true }
        guard verb + 1 < words.count else { return words[verb] != "-Z" }
        return words[verb + 1].hasPrefix("KUBE-")
    }
}
