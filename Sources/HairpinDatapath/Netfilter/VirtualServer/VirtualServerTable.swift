import CProcessor
import HairpinWire

/// IPVS in its NAT mode (masquerading): virtual services and the connections it has forwarded.
///
/// Raw memory: `deallocate` when done.
struct VirtualServerTable {
    /// What to write into a packet: a request's new destination, or a reply's new source.
    struct Change {
        var isReply: Bool
        var address: UInt32
        var port: UInt16
    }
    enum Answer {
        /// Not for a virtual service.
        case none
        case noServer
        /// The connection's server was taken out of service.
        case serverGone
        case forward(Change)
    }

    /// States of a forwarded TCP connection (`IP_VS_TCP_S_…`).
    enum State: UInt8 { case none, established, synSent, synReceived, finWait, timeWait, close, closeWait, lastAck, udp }

    struct Entry {
        var client: UInt32 = 0, address: UInt32 = 0, server: UInt32 = 0
        var clientPort: UInt16 = 0, port: UInt16 = 0, serverPort: UInt16 = 0
        var proto: UInt8 = 0
        var state = State.none
        var isActive = false
        var isUsed = false
        /// Index of service and server, or negative if the server is gone.
        var serviceIndex: Int32 = 0, serverIndex: Int32 = 0
        var expires: UInt64 = 0
        /// Counted here and not with the server: what lies together is written together.
        var inPackets: UInt32 = 0, outPackets: UInt32 = 0
        var inBytes: UInt64 = 0, outBytes: UInt64 = 0
        var request: ConnectionTuple { ConnectionTuple(source: client, destination: address, sourcePort: clientPort, destinationPort: port, proto: proto) }
        var reply: ConnectionTuple { ConnectionTuple(source: server, destination: client, sourcePort: serverPort, destinationPort: clientPort, proto: proto) }
    }

    /// ipvsadm takes at most a month.
    private static let longestPersistence = 31 * 86_400

    /// A template of the kernel's.
    private struct Affinity {
        var server: UInt32, port: UInt16
        var expires: UInt64
        /// Connections it has led to its server; it does not end before them.
        var controlled = 0
        /// One of them was established (`IP_VS_CTPL_S_ASSURED`).
        var isAssured = false
    }
    /// How much longer a template lives that still has connections when its time is up (`ip_vs_conn_expire`).
    private static let templateExtension: UInt64 = 60_000_000_000
    private struct AffinityKey: Hashable {
        var client: UInt32, address: UInt32, port: UInt16, proto: UInt8
        init(client: UInt32, address: UInt32, port: UInt16, proto: UInt8) { (self.client, self.address, self.port, self.proto) = (client, address, port, proto) }
        init(_ entry: Entry) { self.init(client: entry.client, address: entry.address, port: entry.port, proto: entry.proto) }
    }

    private(set) var services: [ScheduledService] = []
    var settings = VirtualServerSettings()
    /// Servers that have left their services and keep what connections they have.
    var terminating: Set<Terminating> = []
    /// Services by address, port and protocol; numbers are positions plus one.
    private var byKey = HashIndex(capacity: 2)
    private(set) var entries: UnsafeMutablePointer<Entry>
    private var capacity = 1
    /// Places used at least once.
    private var used = 0
    private var free: [Int] = []
    /// Numbers are places plus one, shifted left; the lowest bit says reply.
    private var hash = HashIndex(capacity: 2)
    private var affinities: [AffinityKey: Affinity] = [:]
    var tallies: [VirtualServerCounterKey: Tally] = [:]
    private var sweepPosition = 0
    /// Flows whose entries have ended, for the table of connections to forget (`ip_vs_conn_drop_conntrack`).
    private(set) var ended: [ConnectionTuple] = []
    /// Some flow is, or was, one entry's request and another's reply: an entry found by one of them alone may not be the one.
    private(set) var hasAmbiguousFlows = false
    /// No entry ends before.
    private(set) var nextExpiry = UInt64.max

    init() { entries = .allocate(capacity: capacity) }

    func deallocate() {
        entries.deallocate()
        hash.deallocate()
        byKey.deallocate()
    }

    var isEmpty: Bool { services.isEmpty && connectionCount == 0 }
    var connectionCount: Int { used - free.count }

    /// Replaces all services; connections stay with their servers as far as these are still there.
    mutating func set(_ wanted: [VirtualService]) {
        var new = wanted.map { ScheduledService($0) }
        for index in new.indices {
            let key = new[index].configured
            if let old = position(key.address.rawValue, key.port, key.proto.rawValue) { new[index].inherit(from: services[old]) }
        }
        services = new
        let keys = new.map { VirtualServerTable.hash($0.configured.address.rawValue, $0.configured.port, $0.configured.proto.rawValue) }
        byKey.deallocate()
        byKey = HashIndex(capacity: 2)
        // Of two services of one key the first counts.
        for (index, service) in services.enumerated()
        where position(service.configured.address.rawValue, service.configured.port, service.configured.proto.rawValue) == nil {
            byKey.insert(keys[index], UInt32(index + 1))
        }
        for place in 0..<used where entries[place].isUsed {
            (entries[place].serviceIndex, entries[place].serverIndex) = (-1, -1)
            guard let service = position(entries[place].address, entries[place].port, entries[place].proto) else { continue }
            let server = services[service].servers.firstIndex {
                $0.configured.address.rawValue == entries[place].server && $0.configured.port == entries[place].serverPort
            }
            entries[place].serviceIndex = Int32(service)
            entries[place].serverIndex = server.map { Int32($0) } ?? -1
        }
        dropCounters()
    }

    /// Changes services that are there already and leaves the others as they are; false if one is not there, and nothing has changed then.
    mutating func change(_ wanted: [VirtualService]) -> Bool {
        var places: [Int] = []
        for service in wanted {
            guard let place = position(service.address.rawValue, service.port, service.proto.rawValue) else { return false }
            places.append(place)
        }
        for (service, place) in zip(wanted, places) {
            var new = ScheduledService(service)
            new.inherit(from: services[place])
            dropCounters(of: services[place], now: new)
            services[place] = new
        }
        let changed = Set(places)
        for place in 0..<used where entries[place].isUsed && changed.contains(Int(entries[place].serviceIndex)) {
            let server = services[Int(entries[place].serviceIndex)].servers.firstIndex {
                $0.configured.address.rawValue == entries[place].server && $0.configured.port == entries[place].serverPort
            }
            entries[place].serverIndex = server.map { Int32($0) } ?? -1
        }
        return true
    }

    @inline(__always)
    private static func hash(_ address: UInt32, _ port: UInt16, _ proto: UInt8) -> UInt64 {
        ConnectionTuple.mix(UInt64(address), UInt64(port) << 8 | UInt64(proto))
    }

    @inline(__always)
    func position(_ address: UInt32, _ port: UInt16, _ proto: UInt8) -> Int? {
        let number = byKey.find(VirtualServerTable.hash(address, port, proto)) { number in
            let service = services[Int(number) - 1].configured
            return service.address.rawValue == address && service.port == port && service.proto.rawValue == proto
        }
        return number.map { Int($0) - 1 }
    }

    // Three steps of one look-up, each of which finds what the one before has asked for: see `Netfilter.prefetchService`.
    @inline(__always)
    func prefetchService(_ packet: PacketHeaders) {
        byKey.prefetch(VirtualServerTable.hash(packet.destination, packet.destinationPort, packet.proto))
    }
    @inline(__always)
    mutating func prefetchScheduler(_ packet: PacketHeaders) {
        guard let number = likelyPosition(packet) else { return }
        services.withUnsafeMutableBufferPointer {
            guard let start = $0.baseAddress else { return }
            let service = UnsafeRawPointer(start + number)
            hairpin_prefetch_to_write(service)
            hairpin_prefetch_to_write(service + ScheduledService.hotByteCount)
        }
    }
    @inline(__always)
    mutating func prefetchServers(_ packet: PacketHeaders) {
        if let number = likelyPosition(packet) { services[number].prefetchServers() }
    }
    /// Whether it is the packet's service is not asked: that would be to wait for its line.
    @inline(__always)
    private func likelyPosition(_ packet: PacketHeaders) -> Int? {
        byKey.find(VirtualServerTable.hash(packet.destination, packet.destinationPort, packet.proto)) { _ in true }.map { Int($0) - 1 }
    }

    /// For a packet of a real server to its client (`ip_vs_out`).
    mutating func reply(_ packet: PacketHeaders, now: UInt64) -> Change? {
        // An error from the server's side quotes the request it got.
        let quoted = packet.quoted
        guard let tuple = quoted.map({ ConnectionTuple($0)?.inverse }) ?? ConnectionTuple(packet), let place = find(tuple, isReply: true, now: now) else { return nil }
        if quoted == nil { advance(place, packet, isReply: true, now: now) }
        count(place, isReply: true, bytes: packet.totalLength)
        return Change(isReply: true, address: entries[place].address, port: entries[place].port)
    }

    /// For a packet to a virtual service (`ip_vs_in`). `isTracked`: of a flow that the table of connections knows already.
    mutating func request(_ packet: PacketHeaders, isTracked: Bool, now: UInt64) -> Answer {
        let quoted = packet.quoted
        guard let tuple = quoted.map({ ConnectionTuple($0)?.inverse }) ?? ConnectionTuple(packet) else { return .none }
        if let place = find(tuple, isReply: false, now: now) {
            if quoted == nil, isOver(place, packet) {
                // The packet gets a new turn, unless the table of connections still knows its flow; then that entry goes too, and the next packet gets it
                // (`ip_vs_conn_uses_old_conntrack`).
                remove(place, endsFlow: isTracked)
                if isTracked { return .serverGone }
            } else {
                guard entries[place].serverIndex >= 0 else { return .serverGone }
                if quoted == nil { advance(place, packet, isReply: false, now: now) }
                count(place, isReply: false, bytes: packet.totalLength)
                return .forward(Change(isReply: false, address: entries[place].server, port: entries[place].serverPort))
            }
        }
        guard quoted == nil, packet.proto == 6 || packet.proto == 17 || packet.proto == 132, packet.hasTransport,
            let service = position(tuple.destination, tuple.destinationPort, tuple.proto)
        else { return .none }
        // A segment without connection is the local stack's to answer, which resets it.
        if packet.proto == 6, packet.tcpFlags & 0x04 != 0 || packet.tcpFlags & 0x02 == 0 && !settings.isSloppy { return .none }
        guard let server = choose(service, tuple, now: now) else { return .noServer }
        let place = make(tuple, service, server, now: now)
        advance(place, packet, isReply: false, now: now)
        count(place, isReply: false, bytes: packet.totalLength)
        return .forward(Change(isReply: false, address: entries[place].server, port: entries[place].serverPort))
    }

    /// `ip_vs_in_stats`, `ip_vs_out_stats`.
    @inline(__always)
    mutating func count(_ place: Int, isReply: Bool, bytes: Int) {
        if isReply {
            entries[place].outPackets &+= 1
            entries[place].outBytes &+= UInt64(bytes)
        } else {
            entries[place].inPackets &+= 1
            entries[place].inBytes &+= UInt64(bytes)
        }
    }

    /// Whether a packet ends the entry it belongs to: it opens a connection on the ports of one that is over (`is_new_conn_expected`) or whose server has weight
    /// zero, or the server is gone (`ip_vs_in_hook`).
    private func isOver(_ place: Int, _ packet: PacketHeaders) -> Bool {
        let entry = entries[place]
        guard entry.serverIndex >= 0 else { return settings.expiresWithoutServer }
        guard packet.proto == 6, packet.hasTransport, packet.tcpFlags & 0x02 != 0 else { return false }
        if settings.reuseMode == 0 { return false }
        let service = services[Int(entry.serviceIndex)]
        if settings.expiresWithoutServer, service.servers[Int(entry.serverIndex)].configured.weight == 0 { return true }
        // What persistence led to its server stays there.
        return service.configured.persistence == nil && (entry.state == .timeWait || entry.state == .close)
    }

    private mutating func choose(_ service: Int, _ tuple: ConnectionTuple, now: UInt64) -> Int? {
        guard let seconds = services[service].configured.persistence else { return services[service].schedule(tuple, now: now) }
        let key = AffinityKey(client: tuple.source, address: tuple.destination, port: tuple.destinationPort, proto: tuple.proto)
        let expires = now + UInt64(min(max(seconds, 0), VirtualServerTable.longestPersistence)) * 1_000_000_000
        if let known = affinities[key], known.expires > now || known.controlled > 0,
            let server = services[service].servers.firstIndex(where: {
                // A server of weight zero keeps its clients only without expire_quiescent_template.
                $0.configured.address.rawValue == known.server && $0.configured.port == known.port && ($0.configured.weight > 0 || !settings.expiresQuiescentTemplates)
            })
        {
            affinities[key]?.expires = expires
            return server
        }
        guard let server = services[service].schedule(tuple, now: now) else { return nil }
        let chosen = services[service].servers[server].configured
        affinities[key] = Affinity(server: chosen.address.rawValue, port: chosen.port, expires: expires)
        return server
    }

    // MARK: Entries

    /// Expired or not.
    @inline(__always)
    func place(of tuple: ConnectionTuple, isReply: Bool) -> Int? {
        let entries = entries
        let number = hash.find(tuple.hash) { number in
            (number & 1 == 1) == isReply && (isReply ? entries[Int(number >> 1) - 1].reply : entries[Int(number >> 1) - 1].request) == tuple
        }
        return number.map { Int($0 >> 1) - 1 }
    }

    /// The entry at a place where one may be, or have been.
    @inline(__always)
    func usedEntry(_ place: Int) -> UnsafeMutablePointer<Entry>? {
        guard place >= 0, place < used, entries[place].isUsed else { return nil }
        return entries + place
    }

    private mutating func find(_ tuple: ConnectionTuple, isReply: Bool, now: UInt64) -> Int? {
        guard let place = place(of: tuple, isReply: isReply) else { return nil }
        if entries[place].expires <= now {
            remove(place)
            return nil
        }
        return place
    }

    private mutating func make(_ tuple: ConnectionTuple, _ service: Int, _ server: Int, now: UInt64) -> Int {
        for _ in 0..<min(4, used) {
            if sweepPosition >= used { sweepPosition = 0 }
            if entries[sweepPosition].isUsed, entries[sweepPosition].expires <= now { remove(sweepPosition) }
            sweepPosition += 1
        }
        let chosen = services[service].servers[server].configured
        let entry = Entry(
            client: tuple.source, address: tuple.destination, server: chosen.address.rawValue, clientPort: tuple.sourcePort, port: tuple.destinationPort,
            serverPort: chosen.port, proto: tuple.proto, state: tuple.proto == 6 ? .none : .udp, isUsed: true, serviceIndex: Int32(service),
            serverIndex: Int32(server))
        let place: Int
        if let reused = free.popLast() {
            place = reused
            entries[place] = entry
        } else {
            if used == capacity {
                let larger = UnsafeMutablePointer<Entry>.allocate(capacity: capacity * 2)
                larger.moveInitialize(from: entries, count: used)
                entries.deallocate()
                entries = larger
                capacity *= 2
            }
            place = used
            used += 1
            (entries + place).initialize(to: entry)
        }
        services[service].servers[server].inactive += 1
        if services[service].configured.persistence != nil { affinities[AffinityKey(entry)]?.controlled += 1 }
        if self.place(of: entry.reply, isReply: false) != nil { hasAmbiguousFlows = true }
        hash.insert(entry.request.hash, UInt32(place + 1) << 1)
        hash.insert(entry.reply.hash, UInt32(place + 1) << 1 | 1)
        return place
    }

    /// Removes the entries whose time is up, so that servers' counts are those of this moment.
    mutating func expireEntries(now: UInt64) {
        var earliest = UInt64.max
        for place in 0..<used where entries[place].isUsed {
            if entries[place].expires <= now { remove(place) } else { earliest = min(earliest, entries[place].expires) }
        }
        // Not for each of many entries that end one after the other.
        nextExpiry = max(earliest, now + 100_000_000)
    }

    mutating func takeEnded() -> [ConnectionTuple] {
        defer { ended = [] }
        return ended
    }

    /// The service that has the address, port and protocol of another.
    func scheduled(_ service: VirtualService) -> ScheduledService? {
        position(service.address.rawValue, service.port, service.proto.rawValue).map { services[$0] }
    }

    private mutating func remove(_ place: Int, endsFlow: Bool = true) {
        let entry = entries[place]
        keepCounters(of: entry)
        if endsFlow { ended.append(entry.request) }
        if !affinities.isEmpty { letGo(entry) }
        hash.remove(entry.request.hash, UInt32(place + 1) << 1)
        hash.remove(entry.reply.hash, UInt32(place + 1) << 1 | 1)
        count(place, -1)
        entries[place].isUsed = false
        free.append(place)
    }

    /// The template of an entry that ends loses it, and lives on to the next minute after its own time.
    private mutating func letGo(_ entry: Entry) {
        guard var template = affinities[AffinityKey(entry)], template.server == entry.server, template.port == entry.serverPort, template.controlled > 0 else { return }
        template.controlled -= 1
        if template.expires < entry.expires {
            template.expires += (entry.expires - template.expires + VirtualServerTable.templateExtension - 1) / VirtualServerTable.templateExtension
                * VirtualServerTable.templateExtension
        }
        affinities[AffinityKey(entry)] = template
    }

    private mutating func count(_ place: Int, _ change: Int) {
        let entry = entries[place]
        guard entry.serverIndex >= 0 else { return }
        if entry.isActive {
            services[Int(entry.serviceIndex)].servers[Int(entry.serverIndex)].active += change
        } else {
            services[Int(entry.serviceIndex)].servers[Int(entry.serverIndex)].inactive += change
        }
    }

    /// Moves the connection to its next state and renews its time (`set_tcp_state`; UDP has one state).
    private mutating func advance(_ place: Int, _ packet: PacketHeaders, isReply: Bool, now: UInt64) {
        var state = entries[place].state
        if packet.proto == 6, packet.hasTransport { state = VirtualServerTable.next(isReply, TCPEvent(packet.tcpFlags), state) }
        let isActive = state == .established
        if isActive != entries[place].isActive {
            count(place, -1)
            entries[place].isActive = isActive
            count(place, 1)
        }
        entries[place].state = state
        renew(place, now: now)
        if !affinities.isEmpty, state == .udp ? isReply : isActive { affinities[AffinityKey(entries[place])]?.isAssured = true }
    }

    func forEachEntry(_ body: (Entry) -> Void) { for place in 0..<used where entries[place].isUsed { body(entries[place]) } }

    /// Of persistent services.
    func templates(now: UInt64) -> [VirtualConnection] {
        affinities.compactMap { key, template in
            if template.expires <= now, template.controlled == 0 { return nil }
            let late = template.expires > now ? 0 : (now - template.expires) / VirtualServerTable.templateExtension + 1
            return VirtualConnection(
                proto: IPProtocol(key.proto), client: IPv4Address(rawValue: key.client), clientPort: 0, address: IPv4Address(rawValue: key.address), port: key.port,
                server: IPv4Address(rawValue: template.server), serverPort: template.port, state: template.isAssured ? "ASSURED" : "NONE",
                remaining: Int((template.expires + late * VirtualServerTable.templateExtension - now) / 1_000_000_000))
        }
    }

    /// The connection lives on in the state it has.
    mutating func renew(_ place: Int, now: UInt64) {
        entries[place].expires = now + VirtualServerTable.seconds(entries[place].state) * 1_000_000_000
        nextExpiry = min(nextExpiry, entries[place].expires)
    }

    /// `tcp_timeouts` and `udp_timeouts` of ip_vs_proto_tcp.c and ip_vs_proto_udp.c.
    private static func seconds(_ state: State) -> UInt64 {
        switch state {
        case .none: 2
        case .established: 900
        case .synSent, .finWait, .timeWait: 120
        case .synReceived, .closeWait: 60
        case .close: 10
        case .lastAck: 30
        case .udp: 300
        }
    }

    /// `tcp_states` of ip_vs_proto_tcp.c, for requests and replies.
    private static func next(_ isReply: Bool, _ event: TCPEvent, _ state: State) -> State {
        switch (event, isReply) {
        case (.none, _): return state
        case (.rst, false):
            switch state {
            case .synReceived, .lastAck: return state
            default: return .close
            }
        case (.rst, true):
            switch state {
            case .synSent, .timeWait: return state
            default: return .close
            }
        case (.syn, false), (.synAck, false): return state == .established || state == .synSent ? .established : .synReceived
        case (.syn, true), (.synAck, true):
            switch state {
            case .established, .synReceived: return state
            default: return .synSent
            }
        case (.fin, false):
            switch state {
            case .none, .close: return .close
            case .established: return .closeWait
            case .synReceived, .finWait, .timeWait: return .timeWait
            default: return state
            }
        case (.fin, true):
            switch state {
            case .established, .finWait: return .finWait
            case .none, .synReceived, .timeWait, .closeWait: return .timeWait
            default: return state
            }
        case (.ack, false):
            switch state {
            case .none, .synReceived: return .established
            case .lastAck: return .close
            default: return state
            }
        case (.ack, true):
            switch state {
            case .none, .synReceived: return .established
            default: return state
            }
        }
    }
}
