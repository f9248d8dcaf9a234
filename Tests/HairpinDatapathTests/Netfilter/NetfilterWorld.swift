import HairpinEngine
import HairpinWire

@testable import HairpinDatapath

/// The host of a netfilter under test: its addresses, its interfaces, a clock that is set by hand.
struct TestEnvironment: NetfilterEnvironment {
    var locals: [IPv4Address] = [IPv4Address(10, 244, 0, 1), IPv4Address(192, 168, 50, 11), .loopback]
    /// Interface n has name n - 1.
    var names = ["lo", "eth0", "cni0", "veth1", "veth2"]
    var primaries: [UInt32: IPv4Address] = [2: IPv4Address(192, 168, 50, 11), 3: IPv4Address(10, 244, 0, 1)]
    var now = Instant(nanoseconds: 1_000_000_000)
    var random = SeededRandom(seed: 1, name: "test")

    func name(of interface: InterfaceIndex) -> String { names[Int(interface.rawValue) - 1] }
    func isLocal(_ address: IPv4Address) -> Bool { locals.contains(address) }
    func isBroadcast(_ address: IPv4Address) -> Bool { address == IPv4Address(10, 244, 0, 255) }
    func primaryAddress(of output: InterfaceIndex, toward destination: IPv4Address) -> IPv4Address? { primaries[output.rawValue] }
    mutating func random32() -> UInt32 { random.next32() }
}

/// A packet as a test writes it; ports are identifier and sequence for an echo.
struct TestPacket {
    var source: IPv4Address
    var destination: IPv4Address
    var sourcePort: UInt16
    var destinationPort: UInt16
    var proto = IPProtocol.tcp
    var flags: TCPFlags = .syn
    var sequence: UInt32 = 1000
    var acknowledgment: UInt32 = 0
    var payload = 0
    var icmpType: UInt8 = 8

    /// An IP packet with right checksums.
    var bytes: [UInt8] {
        let header = proto == .tcp ? 20 : 8
        var bytes = [UInt8](repeating: 0, count: 20 + header + payload)
        bytes.withUnsafeMutableBytes { buffer in
            let p = buffer.baseAddress!
            var ip = IPv4Header(source: source, destination: destination, proto: proto, totalLength: buffer.count)
            ip.identification = 7
            ip.emit(to: p)
            let t = p + 20
            for n in 0..<payload { t.put(UInt8(truncatingIfNeeded: n &* 7 &+ 1), at: header + n) }
            if proto == .icmp {
                t.put(icmpType, at: 0)
                t.put(sourcePort, at: ICMPOffset.identifier)
                t.put(destinationPort, at: ICMPOffset.sequence)
                t.put(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: buffer[20...])), at: ICMPOffset.checksum)
                return
            }
            t.put(sourcePort, at: 0)
            t.put(destinationPort, at: 2)
            var offset = UDPOffset.checksum
            if proto == .tcp {
                offset = TCPOffset.checksum
                t.put(sequence, at: TCPOffset.sequence)
                t.put(acknowledgment, at: TCPOffset.acknowledgment)
                t.put(UInt8(0x50), at: TCPOffset.dataOffset)
                t.put(flags.rawValue, at: TCPOffset.flags)
                t.put(UInt16(64240), at: TCPOffset.window)
            } else {
                t.put(UInt16(8 + payload), at: UDPOffset.length)
            }
            let segment = UnsafeRawBufferPointer(rebasing: buffer[20...])
            t.put(
                InternetChecksum.checksum(
                    segment, initial: InternetChecksum.pseudoHeader(source: source, destination: destination, protocol: proto.rawValue, length: segment.count)),
                at: offset)
        }
        return bytes
    }

    /// The answer in the other direction.
    func reply(_ flags: TCPFlags, sequence: UInt32 = 5000, acknowledgment: UInt32 = 1001, payload: Int = 0) -> TestPacket {
        var result = self
        (result.source, result.destination) = (destination, source)
        if proto != .icmp { (result.sourcePort, result.destinationPort) = (destinationPort, sourcePort) } else { result.icmpType = 0 }
        (result.flags, result.sequence, result.acknowledgment, result.payload) = (flags, sequence, acknowledgment, payload)
        return result
    }

    func with(_ flags: TCPFlags, sequence: UInt32, acknowledgment: UInt32 = 0, payload: Int = 0) -> TestPacket {
        var result = self
        (result.flags, result.sequence, result.acknowledgment, result.payload) = (flags, sequence, acknowledgment, payload)
        return result
    }
}

/// What came out of the hooks.
struct Outcome {
    var verdict: HookVerdict
    var bytes: [UInt8]
    var mark: UInt32
    var info: ConnectionInfo

    var isAccepted: Bool { if case .accept = verdict { true } else { false } }
    var dropReason: DropReason? { if case .drop(let reason) = verdict { reason } else { nil } }
    var rejectKind: RejectKind? { if case .reject(let kind) = verdict { kind } else { nil } }
    var isReroute: Bool { if case .reroute = verdict { true } else { false } }

    private func read<T>(_ body: (UnsafeRawPointer) -> T) -> T { bytes.withUnsafeBytes { body($0.baseAddress!) } }
    var source: IPv4Address { read { $0.ipv4(IPv4Offset.source) } }
    var destination: IPv4Address { read { $0.ipv4(IPv4Offset.destination) } }
    var sourcePort: UInt16 { read { $0.u16(20) } }
    var destinationPort: UInt16 { read { $0.u16(22) } }
    var timeToLive: UInt8 { read { $0.u8(IPv4Offset.timeToLive) } }
    /// `a:p > b:q`, or addresses alone for ICMP.
    var flow: String {
        read { $0.u8(IPv4Offset.proto) } == 1 ? "\(source) > \(destination)" : "\(source):\(sourcePort) > \(destination):\(destinationPort)"
    }
    /// All checksums are right: the header's, the transport's.
    var hasValidChecksums: Bool {
        bytes.withUnsafeBytes { buffer in
            guard let ip = IPv4View(buffer), ip.isChecksumValid else { return false }
            switch ip.proto {
            case .tcp: return TCPView(ip.payload)?.isChecksumValid(source: ip.source, destination: ip.destination) ?? false
            case .udp: return UDPView(ip.payload)?.isChecksumValid(source: ip.source, destination: ip.destination) ?? false
            case .icmp: return ICMPView(ip.payload)?.isChecksumValid ?? false
            default: return true
            }
        }
    }
    /// The packet an ICMP error quotes.
    var quoted: Outcome { Outcome(verdict: verdict, bytes: Array(bytes[28...]), mark: mark, info: info) }
}

/// One host with rules, through whose hooks a test sends packets.
struct FilterHost {
    var netfilter: Netfilter
    var pool = FramePool()
    var environment = TestEnvironment()

    init(_ rules: String, tracks: Bool = false) throws {
        netfilter = Netfilter(rules: try RuleSet(parsing: rules), tracksConnections: tracks)
    }

    func deallocate() {
        netfilter.deallocate()
        pool.deallocate()
    }

    /// Sends bytes through hooks in turn until one does not accept; the frame ends there. `rerouted`: the hooks of what IPVS took from LOCAL_IN.
    mutating func send(
        _ bytes: [UInt8], through hooks: [Hook], input: UInt32 = 3, output: UInt32 = 3, mark: UInt32 = 0, flags: FrameFlags = [], ports: (UInt32, UInt32) = (0, 0),
        rerouted: [Hook] = []
    ) -> Outcome {
        let frame = pool.allocate(bytes.count)
        bytes.withUnsafeBytes { pool[frame].pointee.data.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        pool[frame].pointee.mark = mark
        pool[frame].pointee.flags = flags
        (pool[frame].pointee.physicalIn, pool[frame].pointee.physicalOut) = (InterfaceIndex(ports.0), InterfaceIndex(ports.1))
        var verdict = HookVerdict.accept
        var left = hooks[...]
        while let hook = left.popFirst() {
            let place = HookPlace(
                hook: hook, input: hook == .localOut || hook == .postrouting ? .none : InterfaceIndex(input),
                output: hook == .prerouting || hook == .localIn ? .none : InterfaceIndex(output), networkOffset: 0)
            verdict = run(place, frame)
            if case .reroute = verdict, !rerouted.isEmpty {
                left = rerouted[...]
            } else if case .accept = verdict {
            } else {
                break
            }
        }
        let outcome = Outcome(
            verdict: verdict, bytes: Array(pool[frame].pointee.bytes), mark: pool[frame].pointee.mark, info: pool[frame].pointee.connectionInfo)
        netfilter.release(frame, &pool)
        pool.free(frame)
        return outcome
    }

    /// A frame with these bytes, not through any hook yet.
    mutating func frame(_ bytes: [UInt8]) -> FrameHandle {
        let frame = pool.allocate(bytes.count)
        bytes.withUnsafeBytes { pool[frame].pointee.data.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        return frame
    }

    /// One hook.
    mutating func run(_ hook: Hook, _ frame: FrameHandle, input: UInt32, output: UInt32) -> HookVerdict {
        run(HookPlace(hook: hook, input: InterfaceIndex(input), output: InterfaceIndex(output), networkOffset: 0), frame)
    }

    /// As `LogicalProcess.hookVerdict`.
    private mutating func run(_ place: HookPlace, _ frame: FrameHandle) -> HookVerdict {
        if netfilter.passes(place, frame, &pool, now: environment.now.nanoseconds) { return .accept }
        return netfilter.runTables(place, frame, &pool, &environment)
    }

    /// The end of a frame's life.
    mutating func end(_ frame: FrameHandle) {
        netfilter.release(frame, &pool)
        pool.free(frame)
    }

    static let forwarding: [Hook] = [.prerouting, .forward, .postrouting]
    mutating func forward(_ packet: TestPacket, input: UInt32 = 3, output: UInt32 = 3) -> Outcome {
        send(packet.bytes, through: FilterHost.forwarding, input: input, output: output)
    }

    mutating func set(sysctl name: String, to value: Int) -> Bool { netfilter.set(sysctl: name, to: value) }
    mutating func connectionLines() -> [String] { netfilter.connections.lines(now: environment.now) }
    mutating func ruleLines() -> [String] { netfilter.lines(counters: true) }

    mutating func advance(_ time: Duration) { environment.now += time }
}

let podA = IPv4Address(10, 244, 0, 2)
let podB = IPv4Address(10, 244, 0, 3)
let podC = IPv4Address(10, 244, 0, 4)
let clusterIP = IPv4Address(10, 96, 0, 20)
let node = IPv4Address(192, 168, 50, 11)
let outside = IPv4Address(203, 0, 113, 9)
