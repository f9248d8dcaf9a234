import HairpinEngine
import HairpinPolicy
import HairpinProxy
import HairpinWire

/// The packet filter of one network namespace: rules, connection tracking, NAT and virtual servers, in the order of Linux's hooks.
///
///     PREROUTING   raw, track, mangle, nat (destination)
///     LOCAL_IN     mangle, filter, security, virtual servers, nat (source), confirm
///     FORWARD      mangle, network policies, filter, security, virtual servers' replies
///     LOCAL_OUT    raw, track, mangle, nat (destination), virtual servers, network policies (what IPVS took from LOCAL_IN), filter, security
///     POSTROUTING  mangle, nat (source), confirm
///
/// A packet comes in through `run` at each hook it meets; `release` must be called when a frame whose `connection` is not zero ends its life or
/// leaves the namespace. Raw memory: `deallocate` when done.
struct Netfilter {
    private(set) var rules: RuleSet
    var program: RuleProgram
    var connections = ConnectionTable()
    var virtualServers = VirtualServerTable()
    /// kube-proxy's table of Services: in iptables and IPVS mode it stands for chains of the rule set, in nftables mode for a table of its own.
    private(set) var services: ServiceTable?
    var policies = PolicyFilter()
    /// Some pod is isolated.
    private(set) var isPolicing = false
    /// For reports.
    var bindings: BindingLog?
    /// Nanoseconds of processor time for every iptables rule a packet is held against; zero charges nothing.
    private(set) var ruleCost: Int64 = 0
    /// Off, every packet goes through every table on its way: what the short ways of `EstablishedPackets.swift` and remembered walks must agree with.
    var takesShortcuts = true { didSet { refreshActivity() } }
    /// Hooks at which `passes` may have an answer, a bit each.
    private var shortHooks: UInt8 = 0
    /// There are virtual services, or connections of some that were.
    private(set) var hasVirtualServers = false
    private let forcesTracking: Bool
    private(set) var isTracking: Bool
    /// Nothing here can change what happens to a packet: the caller may skip every hook.
    private(set) var isActive: Bool

    /// `tracksConnections`: even if no rule asks for it.
    init(rules: RuleSet = RuleSet(), settings: ConnectionSettings = ConnectionSettings(), tracksConnections: Bool = false) {
        self.rules = rules
        program = RuleProgram(rules)
        forcesTracking = tracksConnections
        isTracking = tracksConnections || program.needsConnections
        isActive = isTracking || !program.isEmpty
        connections.settings = settings
    }

    func deallocate() {
        program.deallocate()
        connections.deallocate()
        virtualServers.deallocate()
    }

    // MARK: Changes

    /// Runs one `iptables` command.
    mutating func apply(command: String) throws(RuleError) {
        program.saveCounters(into: &rules)
        if services != nil, RuleSet.touchesServices(command) { try materialise() }
        try rules.apply(command: command)
        recompile()
    }

    /// `iptables-restore`; `keeping` is `--noflush`.
    mutating func restore(_ lines: [String], keeping: Bool = false) throws(RuleError) {
        program.saveCounters(into: &rules)
        try rules.restore(lines, keeping: keeping)
        recompile()
    }

    /// A rule set that has been read, in place of all there is: a table it does not have is empty.
    mutating func replaceRules(_ new: RuleSet) {
        rules = new
        recompile()
    }

    /// As it stands, with its counters and what its sets hold now.
    mutating func currentRules() -> RuleSet {
        program.saveCounters(into: &rules)
        return rules
    }

    /// Makes rules take time, one after the other as iptables looks at them, whatever finds them here.
    mutating func setRuleCost(_ nanoseconds: Int64) {
        program.saveCounters(into: &rules)
        ruleCost = nanoseconds
        recompile()
    }

    /// The time of the rules since this was last asked.
    mutating func takeRuleTime() -> Int64 {
        let time = Int64(clamping: program.walked) &* ruleCost
        program.walked = 0
        return time
    }

    /// `iptables-save -c` if `counters`.
    mutating func lines(counters: Bool = false) -> [String] {
        program.saveCounters(into: &rules)
        let lines = rules.lines(counters: counters)
        return services?.serviceRules().completing(lines, counters: counters) ?? lines
    }

    /// kube-proxy's turn: rules that look Services up use this table from now on.
    mutating func setServices(_ table: ServiceTable?) {
        program.saveCounters(into: &rules)
        services = table
        recompile()
    }

    /// A person changes kube-proxy's own chains: from now on they are rules like any others.
    private mutating func materialise() throws(RuleError) {
        guard let table = services, table.settings.mode == .iptables else { return }
        let lines = table.serviceRules().completing(rules.lines(counters: true), counters: true)
        try rules.restore(lines)
        services = nil
    }

    /// Sets one of the `net.netfilter.nf_conntrack_…` or `net.ipv4.vs.…` settings; false if there is none of that name.
    mutating func set(sysctl name: String, to value: Int) -> Bool {
        name.hasPrefix("net.ipv4.vs.") ? virtualServers.settings.set(name, to: value) : connections.settings.set(name, to: value)
    }

    /// Adds, changes or removes virtual services. IPVS in kube-proxy's way needs tracking (`net.ipv4.vs.conntrack=1`), so it is switched on.
    mutating func setVirtualServices(_ services: [VirtualService]) {
        virtualServers.set(services)
        refreshActivity()
    }

    /// As above, as kube-proxy does: servers that leave keep the connections of TCP they have. `now` in nanoseconds of virtual time.
    mutating func setVirtualServicesGracefully(_ services: [VirtualService], now: UInt64) {
        virtualServers.setGracefully(services, now: now)
        forgetEndedFlows(now: now)
        refreshActivity()
    }

    /// False if one of them is not there yet.
    mutating func changeVirtualServices(_ services: [VirtualService]) -> Bool { virtualServers.change(services) }
    mutating func changeVirtualServicesGracefully(_ services: [VirtualService], now: UInt64) -> Bool {
        defer { forgetEndedFlows(now: now) }
        return virtualServers.changeGracefully(services, now: now)
    }

    /// Replaces the network policies this namespace enforces. They are judged by connections, so tracking is switched on.
    mutating func setPolicies(_ table: PolicyTable, style: PolicyStyle) {
        policies.set(table, style: style)
        isPolicing = !table.isEmpty
        refreshActivity()
    }

    /// To be called when interfaces come, go or change their names.
    mutating func interfacesChanged() { program.interfacesChanged() }

    private mutating func recompile() {
        let old = program
        program = RuleProgram(rules, services: services, countsServices: ruleCost != 0, after: old)
        old.deallocate()
        refreshActivity()
    }

    private mutating func refreshActivity() {
        hasVirtualServers = !virtualServers.isEmpty
        isTracking = forcesTracking || program.needsConnections || hasVirtualServers || services != nil || isPolicing
        isActive = isTracking || !program.isEmpty
        shortHooks = 0
        guard takesShortcuts, isTracking, ruleCost == 0 else { return }
        for hook in [Hook.prerouting, .localIn, .forward, .localOut, .postrouting] where program.hasOnlyFilterAndNAT(hook) { shortHooks |= 1 << hook.rawValue }
    }

    // MARK: Packets

    /// Whether a packet has passed a hook without a look at tables: there are none, or it is what most are. `now` in nanoseconds of virtual time.
    @inline(__always)
    mutating func passes(_ place: HookPlace, _ frame: FrameHandle, _ pool: inout FramePool, now: UInt64) -> Bool {
        guard isActive else { return true }
        guard takesShortWay(place.hook) else { return false }
        return place.hook == .prerouting ? tracksEstablished(place, frame, &pool, now: now) : passesEstablished(place, frame, &pool, now: now)
    }

    @inline(__always)
    func takesShortWay(_ hook: Hook) -> Bool { shortHooks & 1 &<< hook.rawValue != 0 }

    /// Passes a packet through one hook. `frame` may be rewritten, and is given bytes of its own first if it shares them; its mark and
    /// connection are brought up to date. Packets are whole: fragments have been put together before.
    @inline(never)
    mutating func runTables<E: NetfilterEnvironment>(_ place: HookPlace, _ frame: FrameHandle, _ pool: inout FramePool, _ env: inout E) -> HookVerdict {
        if place.hook == .localIn, hasVirtualServers, let end = forwardsEstablished(place, frame, &pool, env) { return end }
        guard var packet = PacketHeaders(pool[frame], offset: place.networkOffset) else { return .accept }
        switch place.hook {
        case .prerouting:
            let isFresh = pool[frame].pointee.connectionInfo == .none
            if isFresh { prefetchService(packet, env) }
            if let end = consult(.raw, place, frame, &packet, &pool, &env) { return end }
            if hasVirtualServers, virtualServers.nextExpiry <= env.now.nanoseconds { endVirtualConnections(now: env.now.nanoseconds) }
            if let end = track(frame, packet, pool, env) { return end }
            if isFresh, pool[frame].pointee.connectionInfo == .new { prefetchEndpoints(packet) }
            if let end = consult(.mangle, place, frame, &packet, &pool, &env) { return end }
            if hasServiceFilters, let end = filterServices(place, frame, packet, &pool, &env) { return end }
            if let end = translate(place, frame, &packet, &pool, &env) { return end }
            // Of nftables only: what stands behind translation.
            if let end = consult(.security, place, frame, &packet, &pool, &env) { return end }
        case .localIn:
            if hasVirtualServers, pool[frame].pointee.connectionInfo == .new { virtualServers.prefetchServers(packet) }
            if let end = consult(.mangle, place, frame, &packet, &pool, &env) { return end }
            if hasServiceFilters, let end = filterServices(place, frame, packet, &pool, &env) { return end }
            if let end = consult(.filter, place, frame, &packet, &pool, &env) { return end }
            if let end = consult(.security, place, frame, &packet, &pool, &env) { return end }
            if hasVirtualServers, let end = serve(place, frame, &packet, &pool, &env) { return end }
            if let end = translate(place, frame, &packet, &pool, &env) { return end }
            return confirm(frame, pool, env)
        case .forward:
            if let end = consult(.mangle, place, frame, &packet, &pool, &env) { return end }
            if hasServiceFilters, let end = filterServices(place, frame, packet, &pool, &env) { return end }
            if let end = police(frame, packet, pool, env) { return end }
            if let end = consult(.filter, place, frame, &packet, &pool, &env) { return end }
            if let end = consult(.security, place, frame, &packet, &pool, &env) { return end }
            if hasVirtualServers, let end = serve(place, frame, &packet, &pool, &env) { return end }
        case .localOut:
            let isFresh = pool[frame].pointee.connectionInfo == .none
            if isFresh { prefetchService(packet, env) }
            if let end = consult(.raw, place, frame, &packet, &pool, &env) { return end }
            if hasVirtualServers, virtualServers.nextExpiry <= env.now.nanoseconds { endVirtualConnections(now: env.now.nanoseconds) }
            if let end = track(frame, packet, pool, env) { return end }
            if isFresh, pool[frame].pointee.connectionInfo == .new { prefetchEndpoints(packet) }
            if let end = consult(.mangle, place, frame, &packet, &pool, &env) { return end }
            if hasServiceFilters, let end = filterServices(place, frame, packet, &pool, &env) { return end }
            if let end = translate(place, frame, &packet, &pool, &env) { return end }
            if hasServiceFilters, let end = filterServices(place, frame, packet, &pool, &env, isTranslated: true) { return end }
            if hasVirtualServers, let end = serve(place, frame, &packet, &pool, &env) { return end }
            if isPolicing, pool[frame].pointee.flags.contains(.virtualServer), let end = police(frame, packet, pool, env) { return end }
            if let end = consult(.filter, place, frame, &packet, &pool, &env) { return end }
            if let end = consult(.security, place, frame, &packet, &pool, &env) { return end }
        case .postrouting:
            if let end = consult(.mangle, place, frame, &packet, &pool, &env) { return end }
            if let end = translate(place, frame, &packet, &pool, &env) { return end }
            if let end = consult(.security, place, frame, &packet, &pool, &env) { return end }
            return confirm(frame, pool, env)
        }
        return .accept
    }

    /// A frame of this namespace is about to be freed, or to leave for another namespace: it no longer belongs to a connection.
    mutating func release(_ frame: FrameHandle, _ pool: inout FramePool) {
        let frame = pool[frame]
        connections.release(frame.pointee.connection)
        frame.pointee.connection = 0
        frame.pointee.connectionInfo = .none
        frame.pointee.flags.remove(.virtualServer)
    }

    /// A frame was cloned: both belong to the connection.
    func retain(_ frame: FrameHandle, _ pool: inout FramePool) { connections.retain(pool[frame].pointee.connection) }

    /// The filtering tables: nil to go on.
    @inline(__always)
    private mutating func consult<E: NetfilterEnvironment>(
        _ table: RuleSet.Table, _ place: HookPlace, _ frame: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool, _ env: inout E
    ) -> HookVerdict? {
        guard let start = program.entry(table, place.hook) else { return nil }
        let connection = connections.entry(pool[frame].pointee.connection)
        let info = pool[frame].pointee.connectionInfo
        let others = program.following(table, place.hook)
        let mayRepeat =
            takesShortcuts && table == .filter && others.isEmpty
            && (info == .established || info == .establishedReply) && connection?.pointee.status.contains(.confirmed) == true
        if mayRepeat, let connection, program.repeats(start, place, pool[frame], connection, length: UInt16(truncatingIfNeeded: packet.totalLength)) { return nil }
        let walked = program.walked
        let mark = pool[frame].pointee.mark
        switch program.evaluateAll(from: start, others, place, frame, &packet, connection, &pool, &env) {
        case .accept:
            if mayRepeat, let connection, pool[frame].pointee.mark == mark { program.remember(start, place, pool[frame], packet, connection, walked: program.walked &- walked, &env) }
            return nil
        case .drop: return .drop(.ruleDrop)
        case .reject(let kind): return .reject(kind)
        // Refused when rules are read: NAT targets belong into nat.
        case .translate, .masquerade, .redirect: return nil
        }
    }

    @inline(__always)
    private mutating func track<E: NetfilterEnvironment>(_ frame: FrameHandle, _ packet: PacketHeaders, _ pool: FramePool, _ env: E) -> HookVerdict? {
        guard isTracking else { return nil }
        switch connections.track(packet, pool[frame], now: env.now.nanoseconds) {
        case .proceed: return nil
        case .drop(let reason): return .drop(reason)
        }
    }

    private mutating func confirm<E: NetfilterEnvironment>(_ frame: FrameHandle, _ pool: FramePool, _ env: E) -> HookVerdict {
        guard isTracking else { return .accept }
        return connections.confirm(pool[frame], now: env.now.nanoseconds) ? .accept : .drop(.conntrackClash)
    }

    /// The nat table's hook (`nf_nat_inet_fn`): decides a new connection's binding, and applies what is decided. Nil to go on.
    private mutating func translate<E: NetfilterEnvironment>(
        _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool, _ env: inout E
    ) -> HookVerdict? {
        let frame = pool[handle]
        guard let connection = connections.entry(frame.pointee.connection) else { return nil }
        let isSource = place.hook == .postrouting || place.hook == .localIn
        let info = frame.pointee.connectionInfo
        if info == .related || info == .relatedReply, packet.proto == 1 { return translateError(place, handle, &packet, &pool, isSource) }
        let done: ConnectionStatus = isSource ? .sourceDone : .destinationDone
        if program.hasNAT || hasServiceFilters, info == .new, !connection.pointee.status.contains(done), !connection.pointee.status.contains(.confirmed) {
            if let end = decide(place, handle, &packet, &pool, connection, isSource, &env) { return end }
        } else if place.hook == .postrouting, !info.isReply, connection.pointee.masqueradeOutput != 0, connection.pointee.masqueradeOutput != place.output.rawValue {
            // The route changed: its address is not the one answers would come to any more (`nf_nat_oif_changed`).
            connections.remove(connections.place(of: connection), isHeld: true, now: env.now.nanoseconds)
            return .drop(.invalidTranslation)
        }
        // In the reply direction a translated source is what the destination must become again.
        let bit: ConnectionStatus = isSource != info.isReply ? .sourceTranslated : .destinationTranslated
        guard connection.pointee.status.contains(bit) else { return nil }
        let (address, port) = connection.pointee.translation(isReply: info.isReply, isSource: isSource)
        pool.makeWritable(handle)
        if frame.pointee.data + place.networkOffset != packet.network {
            guard let fresh = PacketHeaders(pool[handle], offset: place.networkOffset) else { return .drop(.malformedIP) }
            packet = fresh
        }
        packet.rewrite(isSource: isSource, address: address, port: port, isPartial: frame.pointee.flags.contains(.partialChecksum))
        return nil
    }

    /// Asks the nat table for a new connection's binding.
    private mutating func decide<E: NetfilterEnvironment>(
        _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool,
        _ connection: UnsafeMutablePointer<Connection>, _ isSource: Bool, _ env: inout E
    ) -> HookVerdict? {
        let index = connections.place(of: connection)
        // The nat chains of nftables mode stand before those of iptables, as kube-proxy registered first.
        let first = hasServiceFilters ? translateServices(place, handle, packet, &pool, &env) : nil
        let start = program.entry(.nat, place.hook)
        guard first != nil || start != nil else {
            connections.bindNothing(index, isSource: isSource, &env)
            return nil
        }
        let others = program.following(.nat, place.hook)
        switch first ?? program.evaluateAll(from: start ?? 0, others, place, handle, &packet, connection, &pool, &env) {
        case .drop: return .drop(.ruleDrop)
        case .reject(let kind): return .reject(kind)
        case .translate(let range, let wantsSource) where wantsSource == isSource: connections.bind(index, range, isSource: isSource, &env)
        case .masquerade(var range) where place.hook == .postrouting:
            guard connection.pointee.original.source != 0 else { break }
            guard let address = env.primaryAddress(of: place.output, toward: IPv4Address(rawValue: packet.destination)) else { return .drop(.natExhausted) }
            (range.low, range.high) = (address.rawValue, address.rawValue)
            connection.pointee.masqueradeOutput = place.output.rawValue
            connections.bind(index, range, isSource: true, &env)
        case .redirect(var range) where !isSource:
            let address: IPv4Address
            if place.hook == .localOut {
                address = .loopback
            } else {
                guard let primary = env.primaryAddress(of: place.input, toward: IPv4Address(rawValue: packet.source)) else { return .drop(.natExhausted) }
                address = primary
            }
            (range.low, range.high) = (address.rawValue, address.rawValue)
            connections.bind(index, range, isSource: false, &env)
        default: break
        }
        if !connection.pointee.status.contains(isSource ? .sourceDone : .destinationDone) { connections.bindNothing(index, isSource: isSource, &env) }
        if !isSource, let bindings, connection.pointee.status.contains(.destinationTranslated) {
            bindings.note(connection.pointee.original, address: connection.pointee.reply.source, port: connection.pointee.reply.sourcePort)
        }
        return nil
    }

    /// An ICMP error about a translated connection: the quoted packet is shown as its sender knows it, and the error goes where that one is
    /// (`nf_nat_icmp_reply_translation`).
    private mutating func translateError(
        _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool, _ isSource: Bool
    ) -> HookVerdict? {
        let frame = pool[handle]
        guard let connection = connections.entry(frame.pointee.connection) else { return nil }
        let isReply = frame.pointee.connectionInfo.isReply
        let status = connection.pointee.status
        if packet.transport.u8(ICMPOffset.type) == ICMPv4.redirect, !status.isDisjoint(with: .translated) { return .drop(.invalidTranslation) }
        guard status.contains(isSource != isReply ? .sourceTranslated : .destinationTranslated) else { return nil }
        pool.makeWritable(handle)
        guard let fresh = PacketHeaders(pool[handle], offset: place.networkOffset), var inner = fresh.quoted else { return .drop(.invalidTranslation) }
        packet = fresh
        let (address, port) = connection.pointee.translation(isReply: isReply, isSource: isSource)
        // The quoted packet went the other way: what is the source outside is the destination inside.
        inner.rewrite(isSource: !isSource, address: address, port: port, isPartial: false, isQuoted: true)
        packet.renewICMPChecksum()
        packet.rewrite(isSource: isSource, address: address, port: 0, isPartial: false)
        return nil
    }

    /// Virtual servers: replies first, then requests. Nil to go on.
    private mutating func serve<E: NetfilterEnvironment>(
        _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool, _ env: inout E
    ) -> HookVerdict? {
        let frame = pool[handle]
        if frame.pointee.flags.contains(.virtualServer) { return nil }
        let now = env.now.nanoseconds
        defer { if !virtualServers.ended.isEmpty { forgetEndedFlows(now: now) } }
        if let change = virtualServers.reply(packet, now: now) {
            return apply(change, place, handle, &packet, &pool, env)
        }
        guard place.hook != .forward else { return nil }
        let isTracked = connections.entry(frame.pointee.connection)?.pointee.status.contains(.confirmed) ?? false
        switch virtualServers.request(packet, isTracked: isTracked, now: now) {
        case .none: return nil
        case .noServer: return .reject(.icmp(code: ICMPv4.portUnreachable))
        case .serverGone: return .drop(.noVirtualServer)
        case .forward(let change): return apply(change, place, handle, &packet, &pool, env)
        }
    }

    private mutating func apply<E: NetfilterEnvironment>(
        _ change: VirtualServerTable.Change, _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ pool: inout FramePool, _ env: E
    ) -> HookVerdict? {
        let isLocalServer = !change.isReply && env.isLocal(IPv4Address(rawValue: change.address))
        if !change.isReply, !isLocalServer, packet.timeToLive <= 1 { return .drop(.timeToLiveExceeded) }
        pool.makeWritable(handle)
        guard let fresh = PacketHeaders(pool[handle], offset: place.networkOffset) else { return .drop(.malformedIP) }
        packet = fresh
        let frame = pool[handle]
        if !change.isReply, let bindings, let connection = connections.entry(frame.pointee.connection) {
            bindings.note(connection.pointee.original, address: change.address, port: change.port)
        }
        // `ip_vs_update_conntrack`: answers come from the real server, or go to the virtual one.
        if let connection = connections.entry(frame.pointee.connection), !connection.pointee.status.contains(.confirmed),
            !connection.pointee.status.contains(.dying), frame.pointee.connectionInfo == .new
        {
            if change.isReply {
                connection.pointee.reply.destination = change.address
                connection.pointee.reply.destinationPort = change.port
            } else {
                connection.pointee.reply.source = change.address
                connection.pointee.reply.sourcePort = change.port
            }
        }
        if var inner = packet.quoted {
            // An error about a forwarded packet: inside, the other end is the one to change.
            inner.rewrite(isSource: !change.isReply, address: change.address, port: change.port, isPartial: false, isQuoted: true)
            packet.renewICMPChecksum()
            packet.rewrite(isSource: change.isReply, address: change.address, port: 0, isPartial: false)
        } else {
            packet.rewrite(isSource: change.isReply, address: change.address, port: change.port, isPartial: frame.pointee.flags.contains(.partialChecksum))
        }
        frame.pointee.flags.insert(.virtualServer)
        if change.isReply || isLocalServer { return nil }
        packet.setTimeToLive(packet.timeToLive - 1)
        // At LOCAL_OUT the caller routes again anyway, as the destination has changed.
        return place.hook == .localIn ? .reroute : nil
    }
}

extension FrameFlags {
    /// IPVS has handled the packet (`skb->ipvs_property`): it does not look again.
    static let virtualServer = FrameFlags(rawValue: 0x8000)
}
