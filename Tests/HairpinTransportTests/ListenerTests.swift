import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// What listeners take and refuse, and client ports after TIME-WAIT: figures asked of Linux 6.18.44 with a program behind a tun device.
@Suite("Listeners and ports")
struct ListenerTests {
    private func listen(_ world: World, backlog: Int, fastOpen: Int? = nil) throws -> SocketID {
        let listener = try world.b.stack.socket(.stream)
        try world.b.stack.bind(listener, SocketAddress(.any, 80))
        if let fastOpen { try world.b.stack.setOption(listener, .fastOpen, fastOpen) }
        try world.b.stack.listen(listener, backlog: backlog)
        return listener
    }

    /// SYNs of `count` clients that do not hear the answers; how many SYN-ACKs came.
    private func knock(_ world: World, _ count: Int) throws -> Int {
        world.a.deaf = true
        for _ in 0..<count {
            let socket = try world.a.stack.socket(.stream)
            do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 80)) } catch { guard error == .inProgress else { throw error } }
        }
        world.run(.milliseconds(100))
        return world.packets.count { $0.from == "b" && $0.tcp?.flags == [.syn, .ack] }
    }

    @Test("A SYN queue holds the backlog and one more; what exceeds it is dropped, or answered with cookies", arguments: [0, 1, 3])
    func synQueue(_ backlog: Int) throws {
        for cookies in 0...1 {
            var settings = TransportSettings()
            settings.tcp_syncookies = cookies
            let world = World(settings: settings)
            defer { world.tearDown() }
            _ = try listen(world, backlog: backlog)
            #expect(try knock(world, 7) == (cookies == 1 ? 7 : backlog + 1))
            let counters = world.b.stack.counters
            #expect(counters["TcpExtTCPReqQFullDrop"] == (cookies == 1 ? 0 : 6 - backlog))
            #expect(counters["TcpExtListenDrops"] == (cookies == 1 ? 0 : 6 - backlog))
            #expect(counters["TcpExtTCPReqQFullDoCookies"] == (cookies == 1 ? 6 - backlog : 0))
            #expect(counters["TcpExtListenOverflows"] == 0)
        }
    }

    @Test("Without cookies the last quarter of tcp_max_syn_backlog stays free", arguments: [(4, 4), (8, 7), (16, 13)])
    func synBacklog(_ most: Int, _ answered: Int) throws {
        var settings = TransportSettings()
        (settings.tcp_syncookies, settings.tcp_max_syn_backlog) = (0, most)
        let world = World(settings: settings)
        defer { world.tearDown() }
        _ = try listen(world, backlog: 100)
        #expect(try knock(world, 20) == answered)
        #expect(world.b.stack.counters["TcpExtListenDrops"] == 20 - answered)
        #expect(world.b.stack.counters["TcpExtTCPReqQFullDrop"] == 0)
    }

    @Test("TCP_SAVED_SYN gives the headers of the SYN once, if there is room for them")
    func savedSYN() throws {
        let world = World()
        defer { world.tearDown() }
        let listener = try listen(world, backlog: 5)
        try world.b.stack.setOption(listener, .saveSYN, 1)
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        world.run(.milliseconds(1))
        let (child, _) = try world.b.stack.accept(listener)
        #expect(try world.b.stack.option(child, .saveSYN) == 1)
        #expect(throws: Errno.invalid) { try world.b.stack.takeSavedSYN(child, room: 59) }
        #expect(try world.b.stack.takeSavedSYN(child, room: 60) == world.packets[0].bytes)
        #expect(try world.b.stack.takeSavedSYN(child, room: 60).isEmpty)
        #expect(try world.b.stack.takeSavedSYN(listener, room: 60).isEmpty)
    }

    @Test("somaxconn bounds the backlog")
    func somaxconn() throws {
        var settings = TransportSettings()
        settings.somaxconn = 2
        let world = World(settings: settings)
        defer { world.tearDown() }
        _ = try listen(world, backlog: 100)
        #expect(try knock(world, 8) == 8)
        #expect(world.b.stack.counters.cookiesSent == 5)
    }

    @Test("A SYN at a full accept queue is an overflow, whatever cookies say", arguments: 0...2)
    func acceptQueue(_ cookies: Int) throws {
        var settings = TransportSettings()
        settings.tcp_syncookies = cookies
        let world = World(settings: settings)
        defer { world.tearDown() }
        _ = try listen(world, backlog: 1)
        for _ in 0..<3 {
            _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
            world.run(.milliseconds(1))
        }
        #expect(world.b.stack.sockets().count { $0.state == "ESTAB" } == 2)
        #expect(world.b.stack.counters["TcpExtListenOverflows"] == 1)
        #expect(world.b.stack.counters["TcpExtListenDrops"] == 1)
    }

    @Test("The ACK of a handshake that finds the accept queue full is dropped, or answered with a reset", arguments: [false, true])
    func lastAck(_ aborts: Bool) throws {
        var settings = TransportSettings()
        settings.tcp_abort_on_overflow = aborts
        let world = World(settings: settings)
        defer { world.tearDown() }
        _ = try listen(world, backlog: 1)
        // The first client's ACK comes at once, the second's after 10 ms, the third's after 20: its SYN finds room, its ACK does not.
        var ports: [UInt16] = []
        world.hasFate = true
        world.fate = { packet in
            guard packet.from == "a", let tcp = packet.tcp else { return [.microseconds(30)] }
            if !ports.contains(tcp.sourcePort) { ports.append(tcp.sourcePort) }
            return [tcp.flags == .ack ? .milliseconds(Int64(10 * ports.firstIndex(of: tcp.sourcePort)!)) : .microseconds(30)]
        }
        for delay in [0, 0, 1] {
            world.run(.milliseconds(Int64(delay)))
            _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        }
        world.run(.milliseconds(100))
        #expect(world.b.stack.sockets().count { $0.state == "ESTAB" } == 2)
        let counters = world.b.stack.counters
        #expect((counters["TcpExtListenOverflows"], counters["TcpExtListenDrops"]) == (1, 1))
        #expect(counters["TcpExtEmbryonicRsts"] == (aborts ? 1 : 0))
        #expect(counters.resetsSent == (aborts ? 1 : 0))
        #expect(world.packets.contains { $0.from == "b" && $0.tcp!.flags.contains(.rst) } == aborts)
    }

    @Test("A Fast Open queue that is full makes the handshake an ordinary one", arguments: 1...2)
    func fastOpenQueue(_ length: Int) throws {
        var settings = TransportSettings()
        settings.tcp_fastopen = 0x607
        let world = World(settings: settings)
        defer { world.tearDown() }
        _ = try listen(world, backlog: 10, fastOpen: length)
        world.a.deaf = true
        for _ in 0..<4 {
            let socket = try world.a.stack.socket(.stream)
            _ = try? world.a.stack.sendOpening(socket, [UInt8](repeating: 1, count: 10)[...], to: SocketAddress(world.b.address, 80))
        }
        world.run(.milliseconds(100))
        #expect(world.b.stack.counters["TcpExtTCPFastOpenPassive"] == length)
        #expect(world.b.stack.counters["TcpExtTCPFastOpenListenOverflow"] == 4 - length)
    }

    // MARK: client ports

    /// A connection from `port` (nil: any) that the client closes first, on a host with two ports; then another, after so long. What became of that.
    private func again(reuse: Int, bound: Bool, timestamps: Bool = true, after delay: HairpinEngine.Duration) throws -> Errno? {
        var settings = TransportSettings()
        settings.tcp_tw_reuse = reuse
        settings.tcp_timestamps = timestamps
        settings.ip_local_port_range = (40_000, 40_001)
        let world = World(settings: settings)
        defer { world.tearDown() }
        try Peer.serve(world.b, port: 80, [.receiveToEnd, .close])
        func connect(_ port: UInt16) throws -> (SocketID, Errno?) {
            let socket = try world.a.stack.socket(.stream)
            try world.a.stack.setOption(socket, .reuseAddress(true))
            if bound { try world.a.stack.bind(socket, SocketAddress(.any, port)) }
            do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 80)) } catch { return (socket, error) }
            return (socket, nil)
        }
        for port: UInt16 in [40_000, 40_001] {
            let (socket, _) = try connect(port)
            world.run(.milliseconds(10))
            world.a.stack.close(socket)
            world.run(.milliseconds(100))
        }
        #expect(world.a.stack.sockets().map(\.state) == ["TIME-WAIT", "TIME-WAIT"])
        world.run(delay)
        return try connect(40_000).1
    }

    @Test("The host chooses a port in TIME-WAIT again only if tcp_tw_reuse says so, after a second")
    func chosenPort() throws {
        #expect(try again(reuse: 0, bound: false, after: .milliseconds(1300)) == .addressNotAvailable)
        #expect(try again(reuse: 1, bound: false, after: .milliseconds(500)) == .addressNotAvailable)
        #expect(try again(reuse: 1, bound: false, after: .milliseconds(1300)) == .inProgress)
        #expect(try again(reuse: 1, bound: false, timestamps: false, after: .milliseconds(1300)) == .addressNotAvailable)
        // Only on loopback.
        #expect(try again(reuse: 2, bound: false, after: .milliseconds(1300)) == .addressNotAvailable)
    }

    @Test("A port that the program bound is taken over at once, with timestamps", arguments: 0...2)
    func boundPort(_ reuse: Int) throws {
        #expect(try again(reuse: reuse, bound: true, after: .milliseconds(10)) == .inProgress)
        #expect(try again(reuse: reuse, bound: true, timestamps: false, after: .milliseconds(1300)) == .addressNotAvailable)
    }

    @Test("IP_LOCAL_PORT_RANGE narrows the choice, IP_BIND_ADDRESS_NO_PORT puts it off")
    func portOptions() throws {
        let world = World()
        defer { world.tearDown() }
        _ = try listen(world, backlog: 10)
        let socket = try world.a.stack.socket(.stream)
        try world.a.stack.setOption(socket, .localPortRange, 41_001 << 16 | 41_000)
        try world.a.stack.setOption(socket, .bindAddressNoPort, 1)
        try world.a.stack.bind(socket, SocketAddress(world.a.address, 0))
        #expect(world.a.stack.localAddress(socket) == SocketAddress(world.a.address, 0))
        #expect(throws: Errno.inProgress) { try world.a.stack.connect(socket, SocketAddress(world.b.address, 80)) }
        #expect(41_000...41_001 ~= world.a.stack.localAddress(socket)!.port)
        #expect(throws: Errno.addressNotAvailable) { try world.a.stack.bind(try world.a.stack.socket(.stream), SocketAddress(IPv4Address(9, 9, 9, 9), 0)) }
        let free = try world.a.stack.socket(.stream)
        try world.a.stack.setOption(free, .freeBind, 1)
        try world.a.stack.bind(free, SocketAddress(IPv4Address(9, 9, 9, 9), 0))
    }

    @Test("A SYN-ACK that echoes a stamp never sent is answered with a reset, and the SYN goes on waiting", arguments: [-1, 100_000])
    func activePAWS(_ offset: Int) throws {
        let world = World()
        defer { world.tearDown() }
        _ = try listen(world, backlog: 10)
        world.hasFate = true
        world.fate = { _ in [] }
        let socket = try world.a.stack.socket(.stream)
        do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 80)) } catch { guard error == .inProgress else { throw error } }
        world.run(.milliseconds(10))
        world.deliver(world.packets[0].bytes, to: world.b)
        var answer = try #require(world.packets.last { $0.from == "b" }).bytes
        // The echo of the timestamp option.
        let option = try #require((40..<answer.count - 9).first { answer[$0] == 8 && answer[$0 + 1] == 10 })
        let echo = answer[(option + 6)..<(option + 10)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } &+ UInt32(truncatingIfNeeded: offset)
        for i in 0..<4 { answer[option + 6 + i] = UInt8(truncatingIfNeeded: echo >> UInt32(24 - 8 * i)) }
        answer.withUnsafeMutableBytes { bytes in
            let tcp = UnsafeMutableRawBufferPointer(rebasing: bytes[20...])
            tcp[16] = 0
            tcp[17] = 0
            let pseudo = InternetChecksum.pseudoHeader(source: world.b.address, destination: world.a.address, protocol: IPProtocol.tcp.rawValue, length: tcp.count)
            let sum = InternetChecksum.checksum(UnsafeRawBufferPointer(tcp), initial: pseudo)
            (tcp[16], tcp[17]) = (UInt8(sum >> 8), UInt8(sum & 255))
        }
        world.deliver(answer, to: world.a)
        let reset = try #require(world.packets.last)
        #expect(reset.from == "a" && reset.tcp?.flags == .rst)
        #expect(world.a.stack.sockets().map(\.state) == ["SYN-SENT"])
        #expect(world.a.stack.counters["TcpExtPAWSActive"] == 1)
    }
}
