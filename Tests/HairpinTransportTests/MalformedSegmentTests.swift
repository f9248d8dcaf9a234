import Foundation
import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// A TCP whose peer is the test: it knows the numbers on both sides and may say anything.
private final class Victim {
    enum State: String, CaseIterable {
        case closed, listen, synSent, synReceived, simultaneousOpen, established, finWait1, finWait2, orphanFinWait2, closeWait, closing, lastAck, timeWait

        /// As ss(8) names it; nil: no socket.
        var name: String? {
            switch self {
            case .closed: nil
            case .listen: "LISTEN"
            case .synSent: "SYN-SENT"
            case .synReceived, .simultaneousOpen: "SYN-RECV"
            case .established: "ESTAB"
            case .finWait1: "FIN-WAIT-1"
            case .finWait2, .orphanFinWait2: "FIN-WAIT-2"
            case .closeWait: "CLOSE-WAIT"
            case .closing: "CLOSING"
            case .lastAck: "LAST-ACK"
            case .timeWait: "TIME-WAIT"
            }
        }
        /// Both sides know each other's numbers, and there is a connection that segments may hurt.
        var isSynchronized: Bool {
            switch self {
            case .closed, .listen, .synSent, .synReceived, .simultaneousOpen, .timeWait, .orphanFinWait2: false
            default: true
            }
        }
    }

    let world: World
    var stack: TransportStack { world.b.stack }
    let peerAddress: IPv4Address
    let ports: (peer: UInt16, own: UInt16)
    private(set) var socket: SocketID?
    private var listener: SocketID?
    private var seen = 0
    /// The peer's first number; what it will send next; the highest number the victim has used plus one, and its first.
    let peerISS: UInt32
    var next: UInt32
    private(set) var victimNext: UInt32 = 0
    private(set) var victimISS: UInt32 = 0
    private let usesOptions: Bool

    init(_ state: State, seed: UInt64, usesOptions: Bool = true, receiveBuffer: Int? = nil) throws {
        world = World(seed: seed)
        world.hasFate = true  // nothing arrives anywhere but what is injected
        peerAddress = world.a.address
        self.usesOptions = usesOptions
        var random = SeededRandom(seed: seed, name: "victim")
        peerISS = random.next32()
        next = peerISS &+ 1
        ports = (4000, 7)
        if state == .closed { return }
        if state == .synSent || state == .simultaneousOpen {
            let s = try stack.socket(.stream)
            socket = s
            if let receiveBuffer { try stack.setOption(s, .receiveBuffer(receiveBuffer)) }
            try stack.bind(s, SocketAddress(.any, 7))
            do { try stack.connect(s, SocketAddress(peerAddress, 4000)) } catch { #expect(error == .inProgress) }
            observe()
            if state == .simultaneousOpen { say(.syn, sequence: peerISS) }
            return
        }
        let l = try stack.socket(.stream)
        listener = l
        if let receiveBuffer { try stack.setOption(l, .receiveBuffer(receiveBuffer)) }
        try stack.bind(l, SocketAddress(.any, 7))
        try stack.listen(l, backlog: 8)
        if state == .listen { return }
        say(.syn, sequence: peerISS)
        if state == .synReceived { return }
        say(.ack)
        let s = try stack.accept(l).0
        socket = s
        switch state {
        case .finWait1, .closing: try stack.shutdown(s, read: false, write: true)
        case .finWait2, .timeWait:
            try stack.shutdown(s, read: false, write: true)
            observe()
            say(.ack)
        case .orphanFinWait2:
            close()
            observe()
            say(.ack)
        default: break
        }
        observe()
        switch state {
        case .closing:
            say([.fin, .ack], acknowledgment: victimNext &- 1)
            next &+= 1
        case .timeWait, .closeWait, .lastAck:
            say([.fin, .ack])
            next &+= 1
        default: break
        }
        if state == .lastAck {
            try stack.shutdown(s, read: false, write: true)
            observe()
        }
    }

    func close() {
        if let socket { stack.close(socket) }
        socket = nil
    }
    func closeAll() {
        close()
        if let listener { stack.close(listener) }
        listener = nil
    }

    var states: [String] { stack.sockets().map(\.state) }
    /// The state of the connection, not of the listener.
    var state: String? { stack.sockets().first { $0.state != "LISTEN" }?.state }

    /// What the victim has sent since the last call.
    @discardableResult
    func observe() -> [World.Packet] {
        let new = Array(world.packets[seen...])
        seen = world.packets.count
        for packet in new {
            guard let tcp = packet.tcp, !tcp.flags.contains(.rst) else { continue }
            if tcp.flags.contains(.syn) { victimISS = tcp.sequence.rawValue }
            let end = tcp.sequence + tcp.payload.count + (tcp.flags.contains(.syn) ? 1 : 0) + (tcp.flags.contains(.fin) ? 1 : 0)
            if victimNext == 0 || end.isAfter(SequenceNumber(victimNext)) { victimNext = end.rawValue }
        }
        return new
    }

    /// A good segment of the peer, numbered as is right now.
    @discardableResult
    func say(_ flags: TCPFlags, sequence: UInt32? = nil, acknowledgment: UInt32? = nil, payload: [UInt8] = []) -> [World.Packet] {
        var options: [UInt8] = []
        if usesOptions {
            let time = UInt32(truncatingIfNeeded: world.now.nanoseconds / 1_000_000)
            let stamp: [UInt8] = [8, 10] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: time >> $0) } + [0, 0, 0, 0]
            options = flags.contains(.syn) ? [2, 4, 5, 180, 4, 2] + stamp + [1, 3, 3, 7] : [1, 1] + stamp
        }
        inject(segment(flags, sequence: sequence ?? next, acknowledgment: acknowledgment ?? victimNext, options: options, payload: payload))
        return observe()
    }

    /// An IPv4 packet with a TCP segment in it, the checksum right, everything else as told. Options are padded with zeros to whole words.
    func segment(
        _ flags: TCPFlags, sequence: UInt32, acknowledgment: UInt32, window: UInt16 = 65_535, urgent: UInt16 = 0, dataOffset: UInt8? = nil, options: [UInt8] = [],
        payload: [UInt8] = []
    ) -> [UInt8] {
        let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
        let length = 20 + padded.count + payload.count
        var bytes = [UInt8](repeating: 0, count: 20 + length)
        bytes.withUnsafeMutableBytes { raw in
            let p = raw.baseAddress!
            IPv4Header(source: peerAddress, destination: world.b.address, proto: .tcp, totalLength: 20 + length).emit(to: p)
            let t = p + 20
            t.put(ports.peer, at: TCPOffset.sourcePort)
            t.put(ports.own, at: TCPOffset.destinationPort)
            t.put(sequence, at: TCPOffset.sequence)
            t.put(acknowledgment, at: TCPOffset.acknowledgment)
            t.put((dataOffset ?? UInt8(5 + padded.count / 4)) << 4, at: TCPOffset.dataOffset)
            t.put(flags.rawValue, at: TCPOffset.flags)
            t.put(window, at: TCPOffset.window)
            t.put(urgent, at: TCPOffset.urgentPointer)
        }
        bytes.replaceSubrange(40..<40 + padded.count, with: padded)
        bytes.replaceSubrange((40 + padded.count)..., with: payload)
        let pseudo = InternetChecksum.pseudoHeader(source: peerAddress, destination: world.b.address, protocol: 6, length: length)
        let sum = bytes.withUnsafeBytes { InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: $0[20...]), initial: pseudo) }
        bytes[36] = UInt8(sum >> 8)
        bytes[37] = UInt8(truncatingIfNeeded: sum)
        return bytes
    }

    @discardableResult
    func inject(_ packet: [UInt8]) -> Reception { world.deliver(packet, to: world.b) }
}

/// Segments nobody sane sends.
private struct Malice {
    var random: SeededRandom

    mutating func chance(_ n: UInt32) -> Bool { random.below(n) == 0 }

    /// Options that are wrong in length, kind or value.
    private mutating func options(_ victim: Victim) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<random.below(4) {
            switch random.below(8) {
            case 0: bytes += (0..<random.below(12)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            case 1: bytes += [UInt8(random.below(40)), UInt8(random.below(3))]  // lengths 0, 1, 2
            case 2: bytes += [UInt8(random.below(10)), 255]
            case 3: bytes += [8, 10] + (0..<8).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            case 4:
                // SACK blocks: backwards, of what was never sent, empty, huge.
                let count = 1 + Int(random.below(4))
                bytes += [5, UInt8(2 + 8 * count)]
                for _ in 0..<2 * count {
                    let edge = chance(5) ? random.next32() : victim.victimNext &+ random.below(40) &- 20
                    bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: edge >> $0) }
                }
            case 5: bytes += [2, 4, 0, UInt8(random.below(2))]  // MSS 0 or 1
            case 6: bytes += [3, 3, 255]
            default: bytes += [34, UInt8(2 + random.below(20))]  // Fast Open, cookie cut off or odd
            }
        }
        return Array(bytes.prefix(40))
    }

    mutating func segment(_ victim: Victim) -> [UInt8] {
        let window = 70_000 as UInt32
        var sequence = victim.next
        switch random.below(10) {
        case 0...3: break
        case 4: sequence = sequence &+ random.below(3000)
        case 5: sequence = sequence &- random.below(3000)
        case 6: sequence = sequence &+ window &+ random.below(6) &- 3
        case 7: sequence = sequence &+ 0x8000_0000 &+ random.below(5) &- 2
        case 8: sequence = victim.peerISS &+ random.below(3) &- 1
        default: sequence = random.next32()
        }
        var acknowledgment = victim.victimNext
        switch random.below(10) {
        case 0...4: break
        case 5: acknowledgment = acknowledgment &+ 1 &+ random.below(5000)
        case 6: acknowledgment = acknowledgment &- random.below(5000)
        case 7: acknowledgment = acknowledgment &+ 0x8000_0000
        case 8: acknowledgment = 0
        default: acknowledgment = random.next32()
        }
        var flags: TCPFlags = .ack
        switch random.below(10) {
        case 0...2: break
        case 3: flags = [.ack, .psh, .urg]
        case 4: flags = [.ack, .fin]
        case 5: flags = .syn
        case 6: flags = [.syn, .ack]
        case 7: flags = chance(3) ? [.rst, .ack] : .rst
        default: flags = TCPFlags(rawValue: UInt8(truncatingIfNeeded: random.next()))
        }
        let count = chance(3) ? 0 : chance(20) ? random.below(60_000) : random.below(chance(2) ? 10 : 1460)
        let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: Int(count))
        var bytes = victim.segment(
            flags, sequence: sequence, acknowledgment: acknowledgment, window: chance(3) ? 0 : random.next16(), urgent: random.next16(),
            dataOffset: chance(8) ? UInt8(random.below(16)) : nil, options: chance(2) ? options(victim) : [], payload: payload)
        if chance(30) { bytes.removeLast(Int(random.below(UInt32(min(bytes.count, 60))))) }
        return bytes
    }
}

@Suite("Malformed segments")
struct MalformedSegmentTests {
    private static let chosen = ProcessInfo.processInfo.environment["HAIRPIN_SEGMENT_SEED"].flatMap { UInt64($0) }
    private static let count = ProcessInfo.processInfo.environment["HAIRPIN_SEGMENT_SEEDS"].flatMap { UInt64($0) } ?? 20
    private static let seeds: ClosedRange<UInt64> = chosen.map { $0...$0 } ?? 1...max(count, 1)

    @Test("every state can be reached", arguments: Victim.State.allCases)
    fileprivate func states(state: Victim.State) throws {
        let victim = try Victim(state, seed: 3)
        defer { victim.world.tearDown() }
        let shown = victim.states.first { $0 != "LISTEN" } ?? victim.states.first
        #expect(shown == state.name)
    }

    @Test("whatever comes in whatever state: no crash, sane answers, memory within the buffer, and all of it ends", arguments: Victim.State.allCases)
    fileprivate func fuzz(state: Victim.State) throws {
        for seed in Self.seeds {
            let name = "HAIRPIN_SEGMENT_SEED=\(seed), \(state)"
            let victim = try Victim(state, seed: seed, usesOptions: seed % 3 != 0, receiveBuffer: seed % 2 == 0 ? 8192 : nil)
            defer { victim.world.tearDown() }
            var malice = Malice(random: SeededRandom(seed: seed, name: "malice \(state)"))
            var largest = 0
            for step in 0..<60 {
                let packet = malice.segment(victim)
                largest = max(largest, packet.count)
                let before = victim.states
                let view = packet.withUnsafeBytes { IPv4View($0).flatMap { TCPView($0.payload) } }
                let isCut = packet.withUnsafeBytes { IPv4View($0) } == nil
                let flags = TCPFlags(rawValue: packet.count > 33 ? packet[33] : 0)
                let reception = victim.inject(packet)
                let answers = victim.observe()
                if view == nil {
                    #expect(reception == .malformed && answers.isEmpty && victim.states == before, "\(name), step \(step): data offset or length")
                } else if reception == .badChecksum || isCut {
                    #expect(answers.isEmpty && victim.states == before, "\(name), step \(step): checksum")
                } else if flags.contains(.rst) {
                    // A reset is never answered with a reset (RFC 9293 §3.5.2), at most with one challenge.
                    #expect(answers.count <= 1 && !answers.contains { $0.tcp!.flags.contains(.rst) }, "\(name), step \(step): answer to a reset")
                }
                if let socket = victim.socket, victim.state == "ESTAB" || victim.state == "CLOSE-WAIT" {
                    let unread = try victim.stack.unreadBytes(socket)
                    let buffer = try victim.stack.option(socket, .receiveBuffer)
                    // Into an empty queue one segment is taken whatever its size (`tcp_sequence`).
                    #expect(unread <= buffer + largest, "\(name), step \(step): \(unread) bytes in a buffer of \(buffer)")
                    if malice.chance(4) { _ = try? victim.stack.receive(socket, 500) }
                    if malice.chance(8) { _ = try? victim.stack.send(socket, [UInt8](repeating: 1, count: 700)[...]) }
                }
                if malice.chance(3) { victim.world.run(.microseconds(Int64(malice.random.below(malice.chance(4) ? 2_000_000 : 5000)))) }
                victim.observe()
            }
            victim.closeAll()
            victim.world.run(.seconds(2500))
            #expect(victim.states == [], "\(name): sockets left")
        }
    }

    // MARK: RFC 5961

    private static let synchronized = Victim.State.allCases.filter(\.isSynchronized)

    @Test("§3.2: only a reset with the expected number resets; one in the window is challenged, one outside ignored", arguments: synchronized)
    fileprivate func reset(state: Victim.State) throws {
        let victim = try Victim(state, seed: 5)
        defer { victim.world.tearDown() }
        victim.world.run(.milliseconds(600))
        victim.observe()
        #expect(victim.say(.rst, sequence: victim.next &+ 0x4000_0000).isEmpty)
        #expect(victim.say(.rst, sequence: victim.next &- 50_000).isEmpty)
        #expect(victim.state == state.name)
        let challenge = victim.say(.rst, sequence: victim.next &+ 100)
        #expect(challenge.map { $0.tcp!.flags } == [.ack])
        #expect(challenge.map { $0.tcp!.acknowledgment.rawValue } == [victim.next])
        #expect(challenge.map { $0.tcp!.sequence.rawValue } == [victim.victimNext])
        #expect(victim.state == state.name)
        #expect(victim.say(.rst).isEmpty)
        #expect(![state.name].contains(victim.state))
    }

    @Test("§4.2: a SYN is challenged, wherever its number lies", arguments: synchronized)
    fileprivate func syn(state: Victim.State) throws {
        let victim = try Victim(state, seed: 6)
        defer { victim.world.tearDown() }
        for distance: UInt32 in [0, 100, 0x4000_0000, 0xffff_0000] {
            victim.world.run(.milliseconds(600))
            victim.observe()
            let answers = victim.say(.syn, sequence: victim.next &+ distance)
            #expect(answers.map { $0.tcp!.flags } == [.ack], "\(distance)")
            #expect(answers.map { $0.tcp!.acknowledgment.rawValue } == [victim.next])
        }
        #expect(victim.state == state.name)
    }

    @Test("§5.2: acknowledgments of data never sent, or of very old data, change nothing", arguments: synchronized)
    fileprivate func acknowledgments(state: Victim.State) throws {
        let victim = try Victim(state, seed: 7)
        defer { victim.world.tearDown() }
        // The peer's largest window was 8 MiB: what is older than that is very old.
        for distance: UInt32 in [1, 5000, 0x4000_0000, 0x8000_0001, 0xff00_0000] {
            victim.world.run(.milliseconds(600))
            victim.observe()
            // With the next byte, which must not be taken.
            let answers = victim.say(.ack, acknowledgment: victim.victimNext &+ distance, payload: [9])
            #expect(answers.map { $0.tcp!.flags } == [.ack], "\(distance)")
            for answer in answers { #expect(answer.tcp!.acknowledgment.rawValue == victim.next, "\(distance)") }
            #expect(victim.state == state.name, "\(distance)")
        }
    }

    @Test("§7: of a storm of segments to be challenged, two a second are; the limit of the namespace holds too", arguments: synchronized)
    fileprivate func rate(state: Victim.State) throws {
        let victim = try Victim(state, seed: 8)
        defer { victim.world.tearDown() }
        var random = SeededRandom(seed: 8, name: "storm")
        victim.world.run(.milliseconds(600))
        let before = victim.stack.counters.challengeACKs
        for _ in 0..<500 {
            _ = random.below(2) == 0 ? victim.say(.rst, sequence: victim.next &+ 1 &+ random.below(1000)) : victim.say(.syn, sequence: random.next32())
            victim.world.run(.milliseconds(10))
        }
        let challenges = victim.stack.counters.challengeACKs - before
        #expect(9...10 ~= challenges, "\(challenges) in five seconds")
        #expect(victim.state == state.name)
    }

    @Test("a reset with the number of the SYN does not end a handshake; one in the window does")
    func embryonic() throws {
        let victim = try Victim(.synReceived, seed: 9)
        defer { victim.world.tearDown() }
        #expect(victim.say(.rst, sequence: victim.peerISS).isEmpty)
        #expect(victim.state == "SYN-RECV")
        victim.say(.rst, sequence: victim.next)
        #expect(victim.state == nil)
    }

    @Test(
        "echoes of timestamps that were never sent are no round trips: the retransmission timeout stays sane",
        arguments: [1_000, 2_000_000, 2_147_000_000, 3_000_000_000])
    func timestampEchoes(age: UInt32) throws {
        let victim = try Victim(.established, seed: 14)
        defer { victim.world.tearDown() }
        let socket = try #require(victim.socket)
        func stamp(_ value: UInt32, _ echo: UInt32) -> [UInt8] {
            [1, 1, 8, 10] + [value, echo].flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
        }
        for step in 0..<40 {
            _ = try? victim.stack.send(socket, [UInt8](repeating: 7, count: 100)[...])
            let sent = victim.observe().last { $0.from == "b" && $0.tcp!.payload.count > 0 }
            guard let tcp = sent?.tcp else { continue }
            let options = Array(tcp.options)
            let own = options[4..<8].reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            // Alternately plausible and absurd.
            let stamps = stamp(UInt32(truncatingIfNeeded: victim.world.now.nanoseconds / 1_000_000), own &- (step % 2 == 0 ? age : 0))
            victim.inject(victim.segment(.ack, sequence: victim.next, acknowledgment: victim.victimNext, options: stamps, payload: [UInt8](repeating: 3, count: 600)))
            victim.next &+= 600
            _ = try? victim.stack.receive(socket, 600)
            victim.world.run(.milliseconds(5))
            #expect(try #require(victim.stack.tcpInformation(socket)).rto <= 120_000_000)
        }
        #expect(victim.state == "ESTAB")
    }

    // MARK: the window

    @Test("a segment that ends beyond the window: taken if nothing waits to be read, else answered; its FIN alone may")
    func beyondWindow() throws {
        let victim = try Victim(.established, seed: 12, receiveBuffer: 4096)
        defer { victim.world.tearDown() }
        let socket = try #require(victim.socket)
        victim.world.run(.milliseconds(600))
        let window = try #require(victim.stack.tcpInformation(socket)).rcv_wnd
        let whole = (0..<window + 100).map(Peer.pattern)
        victim.say(.ack, payload: Array(whole[..<10]))
        victim.next &+= 10
        let left = try #require(victim.stack.tcpInformation(socket)).rcv_wnd
        // Something waits: all of it is refused.
        let answers = victim.say(.ack, payload: Array(whole[10..<10 + left + 1]))
        #expect(answers.map { $0.tcp!.acknowledgment.rawValue } == [victim.next])
        #expect(try victim.stack.unreadBytes(socket) == 10)
        // To the edge, with a FIN beyond it: taken.
        victim.say([.ack, .fin], payload: Array(whole[10..<10 + left]))
        #expect(try victim.stack.unreadBytes(socket) == 10 + left)
        #expect(victim.state == "CLOSE-WAIT")

        let other = try Victim(.established, seed: 12, receiveBuffer: 4096)
        defer { other.world.tearDown() }
        other.say(.ack, payload: Array(whole[..<(window + 1)]))
        #expect(try other.stack.unreadBytes(#require(other.socket)) == window + 1)
    }

    @Test("a FIN without data is taken at a closed window")
    func closedWindow() throws {
        let victim = try Victim(.established, seed: 13, receiveBuffer: 4096)
        defer { victim.world.tearDown() }
        let socket = try #require(victim.socket)
        for _ in 0..<20 {
            let count = min(try #require(victim.stack.tcpInformation(socket)).rcv_wnd, 1000)
            victim.say(.ack, payload: [UInt8](repeating: 1, count: count))
            victim.next &+= UInt32(count)
            victim.world.run(.milliseconds(300))
            victim.observe()
        }
        #expect(try #require(victim.stack.tcpInformation(socket)).rcv_wnd == 0)
        victim.say(.ack, payload: [1])
        #expect(victim.state == "ESTAB")
        victim.say([.ack, .fin])
        #expect(victim.state == "CLOSE-WAIT")
    }

    // MARK: memory

    @Test("data beyond a hole: overlapping, tiny, beyond the window; never more than the buffer, and the right bytes", arguments: [2304, 8192, 65_536])
    func outOfOrderMemory(buffer: Int) throws {
        let victim = try Victim(.established, seed: 10, receiveBuffer: buffer)
        defer { victim.world.tearDown() }
        let socket = try #require(victim.socket)
        var random = SeededRandom(seed: UInt64(buffer), name: "pieces")
        func piece(_ start: Int, _ count: Int) { victim.say(.ack, sequence: victim.next &+ UInt32(start), payload: (start..<start + count).map(Peer.pattern)) }
        for _ in 0..<3000 { piece(1 + Int(random.below(random.below(3) == 0 ? 200_000 : 3000)), 1 + Int(random.below(random.below(2) == 0 ? 4 : 1400))) }
        #expect(try victim.stack.unreadBytes(socket) == 0)
        // The holes are filled, over and over, until nothing more is accepted.
        var count = -1
        while try victim.stack.unreadBytes(socket) != count {
            count = try victim.stack.unreadBytes(socket)
            for start in stride(from: max(count - 5, 0), to: count + 70_000, by: 500) { piece(start, 500) }
        }
        #expect(count > 0)
        #expect(count <= (try victim.stack.option(socket, .receiveBuffer)))
        #expect(try victim.stack.receive(socket, 1 << 20) == (0..<count).map(Peer.pattern))
    }

    @Test("urgent pointers may point anywhere; with SO_OOBINLINE every byte stays in the stream, else one that was stepped over is missing", arguments: [true, false])
    func urgent(inline: Bool) throws {
        let victim = try Victim(.established, seed: 11, usesOptions: false)
        defer { victim.world.tearDown() }
        let socket = try #require(victim.socket)
        try victim.stack.setOption(socket, .urgentInline, inline ? 1 : 0)
        for pointer: UInt16 in [0, 1, 3, 4, 1000, .max] {
            victim.inject(victim.segment([.ack, .psh, .urg], sequence: victim.next, acknowledgment: victim.victimNext, urgent: pointer, payload: [1, 2, 3]))
            victim.next &+= 3
        }
        // The second pointer found the program before the first urgent byte, which was never asked for (`tcp_check_urg`).
        let all = (0..<6).flatMap { _ in [1, 2, 3] as [UInt8] }
        #expect(try victim.stack.receive(socket, 100) == (inline ? all : Array(all.dropFirst())))
        // The last points 64 KiB ahead: its byte has not come.
        if inline {
            #expect(throws: Errno.invalid) { try victim.stack.receiveUrgent(socket) }
        } else {
            #expect(throws: Errno.tryAgain) { try victim.stack.receiveUrgent(socket) }
        }
    }
}
